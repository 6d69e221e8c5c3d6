"""Recommends one file of a bench, and names formats that are slow on this machine."""

from collections.abc import Mapping, Sequence
from typing import Any

from export.measure.results import table

SLOW = 10  # times the latency of the fastest file
_ALIKE = 1.1  # files that are at most so many times the smallest count as equally small


def recommend(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Chooses the fastest of the smallest files, among `rows` that passed their gates.

    Slow formats are left out. None: there is no file to choose.
    """
    files = _timed_files(rows)
    slow = {row["format"] for row, _ in find_slow(files)}
    files = [row for row in files if row["format"] not in slow]
    if not files:
        return None
    smallest = min(row["bytes"] for row in files)
    alike = [row for row in files if row["bytes"] <= _ALIKE * smallest]
    return min(alike, key=_latency)


def describe(row: Mapping[str, Any]) -> str:
    """Describes a row, such as "int8: 158 kB, 0.06 ms, no answer changed"."""
    flips, images = row["flips"], row["images"]
    changed = f"{flips:,} of {images:,} answers" if flips else "no answer"
    return (
        f"{row['format']}: {table.format_bytes(row['bytes'])},"
        f" {table.format_milliseconds(_latency(row))} ms, {changed} changed"
    )


def find_slow(
    rows: Sequence[Mapping[str, Any]],
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Pairs each `.tflite` that is slow where it was measured with the fastest one."""
    files = _timed_files(rows)
    if not files:
        return []
    fastest = min(files, key=_latency)
    return [(row, fastest) for row in files if _latency(row) > SLOW * _latency(fastest)]


def describe_slow(row: Mapping[str, Any], fastest: Mapping[str, Any]) -> str:
    """Warns of a row of `find_slow`."""
    ratio = _latency(row) / _latency(fastest)
    return (
        f"{row['format']} is slow on this machine: {ratio:,.0f} times the time of"
        f" {fastest['format']}; there are no fast kernels for it here"
    )


def _timed_files(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The `.tflite` files that LiteRT's interpreter was timed with."""
    return [
        row
        for row in rows
        if str(row.get("file", "")).endswith(".tflite")
        and row.get("one_thread")
        and "api" not in row["engine"]
    ]


def _latency(row: Mapping[str, Any]) -> float:
    return row["one_thread"]["p50_ms"]
