"""Values as C source: strings in any script, and arrays of numbers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from eval.formats.embedded import one_line

_WIDTH = 88


def c_string(text: str) -> str:
    """A C string literal; characters outside ASCII become octal escapes of UTF-8."""
    plain = set(range(32, 127)) - set(b'"\\?')  # ??x would be a trigraph
    escaped = (chr(b) if b in plain else f"\\{b:03o}" for b in text.encode())
    return f'"{"".join(escaped)}"'


def c_strings(labels: Iterable[str]) -> str:
    """Formats the elements of an array of strings, a line each."""
    return ",\n".join(f"    {c_string(one_line(label))}" for label in labels)


def c_comment(text: str) -> str:
    """Formats `text` so that it can stand in a C comment and does not end it."""
    line = one_line(text).replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
    return line.encode("ascii", "backslashreplace").decode().replace("\\", "/")


def c_numbers(values: np.ndarray, indent: str = "    ") -> str:
    """Formats the elements of an array of numbers, as many a line as fit.

    Floats are written so that a compiler reads the same float32.
    """
    array = np.asarray(values).reshape(-1)
    if array.dtype.kind == "f":
        words = [f"{value:.9g}".replace("nan", "0") for value in array.tolist()]
        words = [w if set(w) & set(".e") else f"{w}.0" for w in words]
        words = [f"{word}f" for word in words]
    else:
        words = list(map(str, array.tolist()))
    return "\n".join(_lines(words, indent))


def c_rows(table: np.ndarray) -> str:
    """Formats the elements of an array of arrays of numbers, [N, M]."""
    return ",\n".join(f"    {{\n{c_numbers(row, ' ' * 8)}\n    }}" for row in table)


def c_thresholds(abstain: Mapping[str, Mapping[str, Any]]) -> str:
    """Formats the thresholds of a manifest ("abstain") as macros, a line each.

    One that does not exist is a comment with the reason: what uses it does not compile.
    """
    return "\n".join(
        _threshold(f"MODEL_THRESHOLD_{key.removeprefix('0.')}", entry)
        for key, entry in abstain.items()
    )


def _threshold(name: str, entry: Mapping[str, Any]) -> str:
    if entry["threshold"] is None:
        return f"/* no {name}: {c_comment(entry['guarantee'])} */"
    if (whole := entry["quantized"]) is not None:
        return f"#define {name} {whole if whole >= 0 else f'({whole})'}"
    return f"#define {name} {c_numbers(np.float32([entry['threshold']]), '')}"


def _lines(words: list[str], indent: str) -> Iterable[str]:
    line = indent
    for place, word in enumerate(words):
        piece = word + ("," if place + 1 < len(words) else "")
        if len(line) + len(piece) + 1 > _WIDTH and line != indent:
            yield line.rstrip()
            line = indent
        line += piece + " "
    yield line.rstrip()
