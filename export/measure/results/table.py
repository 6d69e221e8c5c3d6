"""Formats the rows of bench.json as a table for a terminal."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from export.artifact import artifact

WIDTH = 100  # columns of a terminal
_NONE = "-"
_COLUMNS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("format", lambda row: row["format"]),
    ("accuracy, 95 %", lambda row: _format_accuracy(row)),
    ("flips", lambda row: f"{row['flips']:,}"),
    ("bytes", lambda row: _format_number(row.get("bytes"), ",")),
    ("load ms", lambda row: _format_number(row.get("load_ms"), ".0f")),
    ("MB", lambda row: _format_megabytes(row)),
    ("p50 ms", lambda row: _format_latency(row, "one_thread", "p50_ms")),
    ("p99 ms", lambda row: _format_latency(row, "one_thread", "p99_ms")),
    ("all", lambda row: _format_latency(row, "all_threads", "p50_ms")),
    ("engine", lambda row: _format_engine(row["engine"])),
)
_LEFT = ("format", "engine")  # the other columns are numbers
_LEAST = ("all", "load ms", "MB")
LEGEND = (
    "flips: answers unlike the checkpoint's; p50, p99: of one image on one thread; all:"
    " p50 on all threads"
)


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Formats `rows` in at most WIDTH columns; a failed row is told with its reason.

    Where they do not fit, the columns of _LEAST are left out, one after the other.
    """
    sound = [row for row in rows if "failed" not in row]
    text, least = _align(sound, ()), ()
    for title in _LEAST:
        if max(map(len, text)) > WIDTH:
            least = (*least, title)
            text = _align(sound, least)
    for row in rows:
        if "failed" in row:
            text.append(wrap(f"{row['format']}: FAILED, {row['failed']}"))
    return "\n".join(text)


def _align(rows: Sequence[Mapping[str, Any]], left_out: Sequence[str]) -> list[str]:
    """The lines of a table without the columns `left_out`."""
    columns = [(title, show) for title, show in _COLUMNS if title not in left_out]
    lines = [[title for title, _ in columns]]
    lines += [[show(row) for _, show in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for line in lines:
        cells = [
            cell.ljust(width) if title in _LEFT else cell.rjust(width)
            for (title, _), cell, width in zip(columns, line, widths, strict=True)
        ]
        text.append("  ".join(cells).rstrip())
    return text


def wrap(text: str) -> str:
    """Breaks a line at WIDTH columns; the rest is indented."""
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def describe_machine(document: Mapping[str, Any]) -> str:
    """Describes how many images a bench.json is of, and the machine."""
    found, rows = document["environment"], document["rows"]
    tested = next((row for row in rows if "failed" not in row), None)
    images = f"{artifact.describe_images(tested)} test images; " if tested else ""
    cores = found["threads"]
    return wrap(
        f"{images}{found['processor']}, {cores} core{'s' if cores != 1 else ''},"
        f" {found['platform']}"
    )


def format_bytes(count: int) -> str:
    """Formats a number of bytes such as "158 kB"."""
    if count < 10_000:
        return f"{count:,} bytes"
    if count < 10_000_000:
        return f"{count / 1000:,.0f} kB"
    return f"{count / 1e6:,.1f} MB"


def format_milliseconds(value: float) -> str:
    """Formats milliseconds with two digits that count, such as "0.062" or "13"."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _format_accuracy(row: Mapping[str, Any]) -> str:
    low, high = row["accuracy_interval"]
    return f"{row['accuracy']:.2%} {100 * low:.1f}-{100 * high:.1f}"


def _format_number(value: float | None, kind: str) -> str:
    return _NONE if value is None else f"{value:{kind}}"


def _format_megabytes(row: Mapping[str, Any]) -> str:
    found = row.get("peak_memory_bytes")
    if found is None:
        return _NONE
    return f"{found / 1e6:.1f}" if found >= 100_000 else f"{found / 1e6:.2g}"


def _format_latency(row: Mapping[str, Any], key: str, quantile: str) -> str:
    found = row.get(key)
    return _NONE if not found else format_milliseconds(found[quantile])


def _format_engine(engine: Mapping[str, Any]) -> str:
    """The shortest name of what computes: LiteRT's kernels, or else the engine."""
    if engine.get("api"):
        return engine["api"].removesuffix("Model").lower()
    return str(engine.get("kernels") or engine["name"].split()[0]).lower()
