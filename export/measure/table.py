"""Formats the rows of bench.json as a table for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from export.artifact import artifact

_COLUMNS = (
    ("format", "{format}"),
    ("images", "{image_count}"),
    ("accuracy (95 %)", "{accuracy:.2%} ({low:.1%}-{high:.1%})"),
    ("NLL", "{nll:.4f}"),
    ("ECE", "{ece:.2%}"),
    ("flips", "{flips}"),
    ("bytes", "{bytes:,}"),
    ("load ms", "{load_ms:.1f}"),
    ("memory MB", "{memory:.1f}"),
    ("1 thread: p50 p90 p99 ms", "{one_thread_ms}"),
    ("all threads", "{all_threads_ms}"),
    ("engine", "{engine_name}"),
)


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Formats `rows` with aligned columns; a failed row is a line with its reason."""
    lines = [[title for title, _ in _COLUMNS]]
    lines += [_cells(row) for row in rows if "failed" not in row]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    failed = [row for row in rows if "failed" in row]
    text += [f"{row['format']}: FAILED, {row['failed']}" for row in failed]
    return "\n".join(text)


def _cells(row: Mapping[str, Any]) -> list[str]:
    low, high = row["accuracy_interval"]
    latencies = {
        f"{key}_ms": " ".join(f"{row[key][f'p{q}_ms']:.3f}" for q in (50, 90, 99))
        for key in ("one_thread", "all_threads")
    }
    engine = row["engine"]
    parts = [engine["name"], engine.get("kernels"), engine["delegate"]]
    cells = {
        "image_count": artifact.describe_images(row),
        "engine_name": " ".join(dict.fromkeys(part.lower() for part in parts if part)),
        "low": low,
        "high": high,
        "memory": row["peak_memory_bytes"] / 1e6,
    }
    return [pattern.format(**row, **cells, **latencies) for _, pattern in _COLUMNS]
