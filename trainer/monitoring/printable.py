"""Text from files and data sets, made safe for a terminal or short for a page."""

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


def abbreviate(name: str, longest: int) -> str:
    """Shortens `name` to one line of at most `longest` characters.

    Control and format characters are left out; "" if nothing visible is left.
    """
    steering = ("Cc", "Cf", "Cs")
    spaced = " ".join(name.split())
    text = "".join(c for c in spaced if unicodedata.category(c) not in steering).strip()
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 3
    return f"{text[: longest - 1 - tail]}…{text[-tail:]}"
