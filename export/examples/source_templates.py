"""Fills the templates of programs; `@name` is a value, `@@` an at sign."""

import importlib.resources
import string
from collections.abc import Sequence

from export.examples.c_text import c_comment
from export.examples.literals import LITERALS

_FOLDER = importlib.resources.files("export.examples") / "templates"
_WIDTH = 88


class _AtTemplate(string.Template):
    """A template without the dollar sign, which shells, Kotlin and Swift have."""

    delimiter = "@"


def fill_template(name: str, /, **values: object) -> str:
    """Fills the template file `name`.

    Raises:
        KeyError: the template has a name that is not among `values`.
    """
    text = (_FOLDER / f"{name}.in").read_text(encoding="utf-8")
    return _AtTemplate(text).substitute({k: str(v) for k, v in values.items()})


def format_labels(labels: Sequence[str], language: str) -> str:
    """Formats the elements of an array of strings, a line each."""
    return "\n".join(f"    {LITERALS[language](label)}," for label in labels)


def format_comment(text: str, mark: str) -> str:
    """Formats `text` as lines of comment that begin with `mark`; ASCII alone."""
    lines, line = [], mark
    for word in c_comment(text).split():
        if len(line) + len(word) + 1 > _WIDTH and line != mark:
            lines.append(line)
            line = mark
        line += f" {word}"
    return "\n".join([*lines, line])
