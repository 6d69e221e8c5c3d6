"""Text of other people on a terminal: names of classes, words of a damaged file."""

import unicodedata

# Controls, also of writing direction, line ends of Unicode, halves of characters.
_ESCAPED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str) -> str:
    """`text` with what moves the cursor or hides letters as a Python escape.

    Lines stay lines.
    """
    return "".join(
        ascii(char)[1:-1]
        if char != "\n" and unicodedata.category(char) in _ESCAPED
        else char
        for char in text
    )


def single_line(text: str) -> str:
    """`text` so, and its line ends as escapes, too."""
    return printable(text).replace("\n", "\\n")


def shortened(text: object, limit: int = 60) -> str:
    """`text` as one line of at most about `limit` characters."""
    line = single_line(str(text))
    return line if len(line) <= limit else f"{line[:limit]}..."
