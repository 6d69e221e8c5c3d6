"""Escapes text from files and data sets so that a terminal can show it safely."""

import unicodedata

# Unicode categories: control and format characters, surrogates, line separators.
_ESCAPED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str) -> str:
    """Escapes characters that move the cursor or hide others, as Python does.

    Line ends stay.
    """
    return "".join(
        ascii(char)[1:-1]
        if char != "\n" and unicodedata.category(char) in _ESCAPED
        else char
        for char in text
    )


def single_line(text: str) -> str:
    """Escapes the same characters and line ends."""
    return printable(text).replace("\n", "\\n")


def shortened(text: object, limit: int = 60) -> str:
    """Shortens `text` to one line of about `limit` characters, with escapes."""
    line = single_line(str(text))
    return line if len(line) <= limit else f"{line[:limit]}..."
