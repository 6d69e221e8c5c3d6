"""The charts of a report: curves, reliability, coverage."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from eval.metrics import classification
from eval.reports.charts import svg
from eval.reports.charts.svg import Chart

POINTS = 300  # points drawn of a curve, at most
FEW = 16  # points that are marked, at most
FEW_ANSWERS = 0.2  # of the images: an axis need not show the scores of fewer
Curve = tuple[Sequence[float], Sequence[float]]  # x and y


def curves(
    found: Mapping[str, Curve],
    title: str,
    *,
    across: str = "epoch",
    label: str = "",
    legend: bool = True,
) -> Markup:
    """Draws curves by name in one chart.

    Args:
        title: of the y axis; what ends with "accuracy" is drawn in per cent.
        across: of the x axis.
        label: describes the chart.
        legend: whether it names the curves; otherwise the page does.
    """
    shares = title.endswith("accuracy")
    values = [y for _, ys in found.values() for y in ys if math.isfinite(y)]
    places = [x for xs, _ in found.values() for x in xs]
    limits = (0.0, 1.0) if shares else (-math.inf, math.inf)
    text = svg.percent if shares else svg.compact
    floor = None if shares else min(0.0, *values) if values else 0.0
    chart = Chart(
        svg.fit_axis(places, across, svg.compact, ends=(0, max(places, default=1))),
        svg.fit_axis(values, title, text, limits=limits, ends=(floor, None)),
        240,
        width=svg.NARROW,
    )
    for series, (xs, ys) in enumerate(found.values()):
        if not len(xs):
            continue  # a series without points keeps its colour
        shown = np.unique(np.linspace(0, len(xs) - 1, POINTS).astype(int))
        points = [(xs[n], ys[n]) for n in shown if math.isfinite(ys[n])]
        chart.line([x for x, _ in points], [y for _, y in points], series)
        if len(points) <= FEW:
            for x, y in points:
                chart.point(x, y, series, f"{across} {x:g}: {text(round(y, 4))}")
    if legend:
        chart.legend(list(found))
    return chart.render(label or f"{title} over {across}")


def reliability(table: Sequence[Mapping]) -> Markup:
    """Draws the share of right answers over confidence, with intervals and counts."""
    shares = {"limits": (0.0, 1.0), "ends": (0.0, 1.0)}
    chart = Chart(
        svg.fit_axis([], "confidence", svg.percent, **shares),
        svg.fit_axis([], "share that is right", svg.percent, **shares),
        320,
        below=70,
    )
    start, end = chart.place(0, 0), chart.place(1, 1)
    chart.add(f'<path class="ideal" d="M{start[0]} {start[1]}L{end[0]} {end[1]}"/>')
    _bars(chart, table)
    for row in table:
        chart.whisker(row["confidence"], *row["accuracy_interval"])
        low, high = (svg.percent(round(end, 3)) for end in row["accuracy_interval"])
        chart.point(
            row["confidence"],
            row["accuracy"],
            said=f"{row['count']:,} images, confidence {row['confidence']:.1%}: "
            f"{row['accuracy']:.1%} are right (95 %: {low} to {high})",
        )
    return chart.render(
        "Reliability: the share of right answers in each bin of confidence, with 95 % "
        "intervals, and the number of images in each bin"
    )


def _bars(chart: Chart, table: Sequence[Mapping]) -> None:
    """Draws the number of images of each bin under the chart."""
    most = max((row["count"] for row in table), default=1)
    bottom, tallest = chart.height - 4, 46
    for row in table:
        left, right = (chart.place(row[end], 0)[0] for end in ("lower", "upper"))
        tall = max(1.0, tallest * row["count"] / most)
        chart.add(
            f'<rect class="bar" x="{left + 0.5:.1f}" y="{bottom - tall:.1f}"'
            f' width="{right - left - 1:.1f}" height="{tall:.1f}"/>'
            f'<text class="small" x="{(left + right) / 2:.1f}"'
            f' y="{bottom - tall - 3:.1f}" text-anchor="middle">{row["count"]:,}</text>'
        )
    chart.add(f'<text class="small" x="0" y="{bottom}">images</text>')


def coverage(risks: np.ndarray) -> Markup:
    """Draws accuracy over the share of images answered, the most confident first.

    `risks` are those of `classification.risks`.
    """
    count = len(risks)
    shown = np.unique(np.linspace(0, count - 1, POINTS).astype(int))
    xs = (shown + 1) / count
    ys = 1 - risks[shown]
    ends = [
        classification.interval(round(float(y) * (n + 1)), int(n) + 1)
        for n, y in zip(shown, ys, strict=True)
    ]
    # Of a few images the interval is nearly everything: the axis leaves it out.
    heights = [
        height
        for x, y, (low, _) in zip(xs, ys.tolist(), ends, strict=True)
        for height in (y, low)
        if x >= FEW_ANSWERS
    ]
    limits = {"limits": (0.0, 1.0), "ends": (None, 1.0)}
    chart = Chart(
        svg.fit_axis([], "share answered", svg.percent, ends=(0.0, 1.0)),
        svg.fit_axis(heights, "accuracy", svg.percent, **limits),
        390,
    )
    chart.band(xs, [low for low, _ in ends], [high for _, high in ends])
    chart.line(xs, ys)
    return chart.render(
        "Accuracy on the most confident share of the images, with its 95 % interval"
    )


def abstention(found: Mapping) -> Markup:
    """Draws accuracy on what is answered over its share, with the thresholds' points.

    `found` is the part "abstention" of report.json.
    """
    curve = [row for row in found["curve"] if row["selective_accuracy"] is not None]
    tested = [row for row in found["targets"] if row["test"]]
    tested = [row for row in tested if row["test"]["selective_accuracy"] is not None]
    # Of few answers the accuracy jumps about: the axis leaves them out.
    heights = [r["selective_accuracy"] for r in curve if r["coverage"] >= FEW_ANSWERS]
    heights += [end for r in tested for end in r["test"]["selective_accuracy_interval"]]
    chart = Chart(
        svg.fit_axis([], "share answered", svg.percent, ends=(0.0, 1.0)),
        svg.fit_axis(
            heights, "right among these", svg.percent, limits=(0, 1), ends=(None, 1)
        ),
        300,
    )
    chart.line(
        [row["coverage"] for row in curve], [row["selective_accuracy"] for row in curve]
    )
    for row in tested:
        test = row["test"]
        chart.whisker(test["coverage"], *test["selective_accuracy_interval"], 1)
        chart.point(
            test["coverage"],
            test["selective_accuracy"],
            1,
            f"wanted {row['target']:.0%}: {test['selective_accuracy']:.1%} of the "
            f"{test['coverage']:.1%} that are answered",
        )
    chart.legend(["all thresholds", "chosen"])
    return chart.render(
        "Accuracy on the answered images over their share, with the chosen thresholds"
    )
