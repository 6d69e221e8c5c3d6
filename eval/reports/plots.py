"""Draws the figures of a report, legible on light and dark pages.

They use two colours of equal lightness that colour-blind readers can distinguish (after
Okabe & Ito 2008). Everything else is drawn in INK, which `svg` replaces by the text
colour of the page.
"""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from trainer.monitoring import pictures

BLUE, ORANGE, GREY = "#2b8ac6", "#e0791a", "#8a8a8a"
INK = "#010203"  # used for nothing else, so that it can be replaced
POINTS = 400  # points drawn of a curve, at most
_WIDTH_INCHES = 4.8  # 460 px: text stays readable on a phone
STYLE = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def _axes(height: float, rows: int = 1, **options: object) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH_INCHES, height))
    return figure, figure.subplots(rows, **options)


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Figure:
    """Draws the confusion matrix: shares by label, with counts in the cells."""
    counts = np.asarray(matrix)
    figure, axes = _axes(4.2)
    labels = pictures.lettering(names).labels
    pictures.confusion(axes, counts, labels, numbers=len(names) <= 12)
    return figure


def reliability(tables: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Draws accuracy over confidence, and a histogram of confidence.

    `tables` maps at most two legend entries to `classification.reliability` tables.
    """
    figure, (top, bottom) = _axes(
        4.2, rows=2, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    top.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--")
    for (name, table), colour, marker in zip(
        tables.items(), (BLUE, ORANGE), "os", strict=False
    ):
        confidence = [row["confidence"] for row in table]
        accuracy = [row["accuracy"] for row in table]
        style = {"color": colour, "marker": marker, "markersize": 4, "label": name}
        top.plot(confidence, accuracy, **style)
        widths = [row["upper"] - row["lower"] for row in table]
        lowers = [row["lower"] for row in table]
        heights = [row["count"] for row in table]
        bottom.bar(lowers, heights, widths, align="edge", fill=False, edgecolor=colour)
    top.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    top.legend(loc="upper left")
    bottom.set(xlabel="confidence", ylabel="images")
    bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    return figure


def per_class(rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Figure:
    """Draws recall and precision of each class with intervals."""
    figure, axes = _axes(max(1.2 + 0.32 * len(rows), 2.5))
    places = np.arange(len(rows))
    for name, colour, marker, shift in (
        ("recall", BLUE, "o", -0.18),
        ("precision", ORANGE, "s", 0.18),
    ):
        values = np.array([row[name] for row in rows])
        ends = np.array([row[f"{name}_interval"] for row in rows]).T
        axes.barh(places + shift, values, 0.34, color=colour, alpha=0.35)
        axes.errorbar(
            values,
            places + shift,
            xerr=np.abs(ends - values),
            fmt=marker,
            color=colour,
            markersize=4,
            label=name,
            clip_on=False,
        )
    axes.set_yticks(places, labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def risk_coverage(risks: np.ndarray) -> Figure:
    """Draws the error rate on the most confident images, over their share."""
    figure, axes = _axes(2.8)
    coverage = np.arange(1, len(risks) + 1) / len(risks)
    shown = np.unique(np.linspace(0, len(risks) - 1, POINTS).astype(int))
    axes.plot(coverage[shown], risks[shown], color=BLUE)
    axes.set(xlim=(0, 1), ylim=(0, None), xlabel="share answered", ylabel="error rate")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    return figure


def curves(series: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draws training curves; `series` maps a panel (such as loss) to curves by name.

    Each curve is a pair of equally long lists, (steps, values), of which at most POINTS
    are drawn.
    """
    figure, panels = _axes(0.6 + 1.9 * len(series), rows=len(series), squeeze=False)
    for (title, lines), axes in zip(series.items(), panels[:, 0], strict=True):
        for (name, (steps, values)), colour in zip(
            lines.items(), (BLUE, ORANGE, INK, GREY), strict=False
        ):
            mark = "o" if len(steps) <= 30 else None
            shown = np.unique(np.linspace(0, len(steps) - 1, POINTS).astype(int))
            xs, ys = np.asarray(steps)[shown], np.asarray(values)[shown]
            axes.plot(xs, ys, color=colour, label=name, marker=mark, ms=3)
        axes.set_ylabel(title)
        if len(lines) > 1:
            axes.legend()
    panels[-1, 0].set_xlabel("step")
    return figure


def robustness(types: Mapping[str, Sequence[float]], clean: float) -> Figure:
    """Draws the accuracy of each corruption (rows) at each severity (columns)."""
    import seaborn  # takes two seconds; only reports with corruptions need it

    figure, axes = _axes(1.2 + 0.28 * len(types))
    seaborn.heatmap(
        np.array(list(types.values())),
        ax=axes,
        cmap="cividis",
        vmin=0,
        vmax=1,
        annot=True,
        fmt=".0%",
        annot_kws={"size": 7},
        xticklabels=[str(n + 1) for n in range(5)],
        yticklabels=[name.replace("_", " ") for name in types],
        cbar=False,
    )
    axes.set(xlabel=f"severity (clean images: {clean:.1%})")
    return figure


def fix_layout(figure: Figure) -> None:
    """Computes the layout of `figure` once, as saving it would do each time."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def svg(figure: Figure, label: str) -> str:
    """Renders `figure` as an inline <svg> that takes the page's text colour."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(rf"(fill|stroke): {INK}", r"\1: currentColor", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # The rule for "*" in it would apply to the whole page.
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def png(figure: Figure) -> bytes:
    """Renders `figure` as a PNG on white at 200 dpi."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, facecolor="white")
    return buffer.getvalue()


def drawing_style(names: Sequence[str] = ()) -> AbstractContextManager[None]:
    """Context for drawing and saving figures with class `names`."""
    return pictures.drawing(pictures.lettering(names).families, **STYLE)
