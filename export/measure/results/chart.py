"""Draws the rows of bench.json: accuracy against bytes, and against latency."""

import io
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from export.measure.results import table
from trainer import files
from trainer.monitoring import pictures

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
    import seaborn

    figure = Figure(figsize=_SIZE_INCHES)
    left, right = figure.subplots(1, 2, sharey=True)
    columns = _columns([row for row in rows if "failed" not in row])
    names = columns["format"]
    # Ten colours that are easily told apart; beyond, as many as there are rows.
    palette = "tab10" if len(names) <= 10 else "husl"
    colours = dict(zip(names, seaborn.color_palette(palette, len(names)), strict=True))
    for axes, column, show in (
        (left, "size", table.format_bytes),
        (right, "milliseconds of one image", table.format_milliseconds),
    ):
        axes.set_xscale("log")
        seaborn.scatterplot(
            columns, x=column, y="accuracy", hue="format", style="format", s=60,
            palette=colours, legend="full" if axes is left else False, ax=axes,
        )  # fmt: skip
        _draw_intervals(axes, columns, column, colours)
        axes.set_xlabel(column)
        axes.grid(visible=True, alpha=0.25)
        axes.xaxis.set_major_formatter(lambda value, _, show=show: show(value))
        axes.xaxis.set_minor_formatter(NullFormatter())
    left.set_ylabel("accuracy, with 95 % interval")
    left.yaxis.set_major_formatter(PercentFormatter(1))
    handles, names = left.get_legend_handles_labels()
    if handles:
        left.get_legend().remove()
        figure.legend(handles, names, loc="outside right upper", fontsize=8)
    return figure


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The columns of the picture; a value that a row does not have is NaN."""
    most = max((row["images"] for row in rows), default=0)
    latencies = [(row.get("one_thread") or {}).get("p50_ms") for row in rows]
    return {
        "format": [
            row["format"]
            + (f" ({row['images']:,} images)" if row["images"] < most else "")
            for row in rows
        ],
        "size": [row.get("bytes") or math.nan for row in rows],
        "milliseconds of one image": [latency or math.nan for latency in latencies],
        "accuracy": [row["accuracy"] for row in rows],
        "interval": [row["accuracy_interval"] for row in rows],
    }


def _draw_intervals(
    axes: Axes,
    columns: Mapping[str, Sequence[Any]],
    column: str,
    colours: Mapping[str, tuple[float, float, float]],
) -> None:
    """Draws the interval of each row that has a value in `column`."""
    shown = (columns[key] for key in (column, "accuracy", "interval", "format"))
    for place, accuracy, (low, high), name in zip(*shown, strict=True):
        if math.isnan(place):
            continue
        axes.errorbar(
            [place],
            [accuracy],
            yerr=[[max(accuracy - low, 0)], [max(high - accuracy, 0)]],
            fmt="none",
            ecolor=colours[name],
            elinewidth=0.8,
            capsize=2,
            zorder=0.5,
        )
