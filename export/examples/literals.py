"""Strings of any content as source text of each language.

Letters and digits of any script stand as they are; what an editor, compiler or terminal
could read otherwise is escaped.
"""

from collections.abc import Callable

from eval.formats.embedded import one_line
from export.examples.c_text import c_string
from trainer.monitoring.printable import single_line

_SAME = frozenset(map(chr, range(32, 127)))
_MARKED = frozenset('"\\')  # by a backslash, in all of these languages
_JOINERS = "\u200c\u200d"  # in words of some scripts, and in emoji


def shown_name(label: str) -> str:
    """The name of a class as a program prints it: without what steers a terminal."""
    return "".join(c if c in _JOINERS else single_line(c) for c in one_line(label))


def python_string(text: str) -> str:
    """A literal of Python."""
    return _quote(text, lambda char: f"\\U{ord(char):08x}")


def kotlin_string(text: str) -> str:
    """A literal of Kotlin, where a dollar sign begins a template."""
    return _quote(text, _escape_utf16, frozenset('"\\$'))


def swift_string(text: str) -> str:
    """A literal of Swift."""
    return _quote(text, lambda char: f"\\u{{{ord(char):x}}}")


def _quote(
    text: str, escape: Callable[[str], str], marked: frozenset[str] = _MARKED
) -> str:
    written = (
        f"\\{c}" if c in marked else c if c in _SAME or c.isalnum() else escape(c)
        for c in text
    )
    return f'"{"".join(written)}"'


def _escape_utf16(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))


LITERALS = {
    "python": python_string,
    "c": c_string,
    "kotlin": kotlin_string,
    "swift": swift_string,
}
