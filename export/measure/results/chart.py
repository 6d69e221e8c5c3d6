"""Draws the rows of bench.json: accuracy against bytes, and against latency."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from export.measure.results import table
from trainer import files
from trainer.monitoring import pictures

_MARKERS = "os^Dvp*<>hXP"
_COLOURS = matplotlib.colormaps["tab10"].colors
_SIZE_INCHES = (9.0, 4.0)
KINDS = ("png", "svg")
_STYLE = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def write_charts(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    """Writes the picture of `rows` as `path` with the suffix of each of KINDS."""
    with pictures.drawing(**_STYLE):
        figure = draw(rows)
        for kind in KINDS:
            buffer = io.BytesIO()
            dated = {"metadata": {"Date": None}} if kind == "svg" else {"dpi": 150}
            figure.savefig(buffer, format=kind, facecolor="white", **dated)
            files.write_bytes(path.with_suffix(f".{kind}"), buffer.getvalue())


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws each row with the 95 % interval of its accuracy, on logarithmic axes.

    A row without bytes or latency is only in the other half.
    """
    figure = Figure(figsize=_SIZE_INCHES)
    left, right = figure.subplots(1, 2, sharey=True)
    shown = [row for row in rows if "failed" not in row]
    most = max((row["images"] for row in shown), default=0)
    for number, row in enumerate(shown):
        latency = (row.get("one_thread") or {}).get("p50_ms")
        fewer = f" ({row['images']:,} images)" if row["images"] < most else ""
        label = f"{row['format']}{fewer}"
        _draw_point(left, row, row.get("bytes"), number, label)
        _draw_point(right, row, latency, number, label)
    for axes, title, show in (
        (left, "size", table.format_bytes),
        (right, "milliseconds of one image", table.format_milliseconds),
    ):
        axes.set_xscale("log")
        axes.set_xlabel(title)
        axes.grid(visible=True, alpha=0.25)
        axes.xaxis.set_major_formatter(lambda value, _, show=show: show(value))
        axes.xaxis.set_minor_formatter(NullFormatter())
    left.set_ylabel("accuracy, with 95 % interval")
    left.yaxis.set_major_formatter(PercentFormatter(1))
    handles, names = left.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside right upper", fontsize=8)
    return figure


def _draw_point(
    axes: Axes, row: Mapping[str, Any], place: float | None, number: int, label: str
) -> None:
    if not place:
        return
    accuracy = row["accuracy"]
    low, high = row["accuracy_interval"]
    axes.errorbar(
        [place],
        [accuracy],
        yerr=[[max(accuracy - low, 0)], [max(high - accuracy, 0)]],
        fmt=_MARKERS[number % len(_MARKERS)],
        color=_COLOURS[number % len(_COLOURS)],
        markersize=6,
        elinewidth=0.8,
        capsize=2,
        alpha=0.8,
        label=label,
    )
