"""Charts of a study as inline SVG; colours and strokes are in the page's style.

Every mark of a trial has the attribute data-trial, by which the page highlights it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from eval.reports.charts import svg
from eval.reports.charts.svg import Chart

WIDTH, HEIGHT, MARGIN = 920, 340, 44
SHADES = 5  # classes of accuracy, by rank
Row = Mapping[str, Any]
Point = tuple[float, float]


def parallel_coordinates(trials: Sequence[Row]) -> Markup | None:
    """A line for each trial over its flags and its accuracy; None without any."""
    shown = [row for row in trials if row["validation_accuracy"] is not None]
    names = _varying(shown)
    if not shown or not names:
        return None
    axes = [_Axis(name, [row["flags"].get(name) for row in shown]) for name in names]
    axes.append(_Axis("accuracy", [row["validation_accuracy"] for row in shown]))
    step = (WIDTH - 2 * MARGIN - 40) / max(1, len(axes) - 1)
    places = [MARGIN + 20 + step * place for place in range(len(axes))]
    parts = [axis.draw(x) for axis, x in zip(axes, places, strict=True)]
    shades = shade_by_rank(shown)
    for place, row in enumerate(shown):
        heights = [axis.heights[place] for axis in axes]
        points = list(zip(places, heights, strict=True))
        parts.append(_line(row, shades[row["number"]], points))
    return Markup(  # noqa: S704  texts are escaped where they are set
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Flags of each trial and its validation accuracy">'
        f"{''.join(parts)}</svg>"
    )


def learning_curves(trials: Sequence[Row]) -> Markup | None:
    """Validation accuracy over epochs, a line for each trial; None without any."""
    shown = [row for row in trials if row["curve"]]
    if not shown:
        return None
    points = [point for row in shown for point in row["curve"]]
    epochs = svg.fit_axis([0.0, *(x for x, _ in points)], "epoch")
    accuracies = [y for _, y in points]
    chart = Chart(epochs, _accuracy_axis(accuracies), HEIGHT, width=WIDTH)
    shades = shade_by_rank(shown)
    for row in shown:
        line = [chart.place(x, y) for x, y in row["curve"]]
        state = " ended" if row["state"] == "complete" else ""
        if len(line) == 1:  # its ends are seen
            line += line
        chart.add(_line(row, shades[row["number"]], line, state))
    return chart.render("Validation accuracy of each trial over epochs")


def pareto_front(
    trials: Sequence[Row], objectives: Sequence[Row], front: Sequence[Sequence[float]]
) -> Markup | None:
    """Two objectives of each trial, and those that none beats; None for one objective.

    `front` holds number and both values of the latter.
    """
    if len(objectives) < 2:
        return None
    first, second = objectives[0]["name"], objectives[1]["name"]
    shown = [row for row in trials if {first, second} <= (row["values"] or {}).keys()]
    if not shown:
        return None
    pairs = [(row["values"][second], row["values"][first]) for row in shown]
    axes = [
        _accuracy_axis(values)
        if name == "accuracy"
        else svg.fit_axis(values, name, svg.compact)
        for name, values in zip((second, first), zip(*pairs, strict=True), strict=True)
    ]
    chart = Chart(*axes, HEIGHT, width=WIDTH)
    line = _points([chart.place(y, x) for _, x, y in front])
    chart.add(f'<polyline class="front" points="{line}"/>')
    best = {int(point[0]) for point in front}
    for row, pair in zip(shown, pairs, strict=True):
        x, y = chart.place(*pair)
        kind = "chosen" if row["number"] in best else "other"
        chart.add(
            f'<circle class="dot {kind}" data-trial="{row["number"]}" r="5" cx="{x}" '
            f'cy="{y}">{_title(row)}</circle>'
        )
    return chart.render(f"{first} against {second}; a line joins the best ones")


def _accuracy_axis(values: Sequence[float]) -> svg.Axis:
    return svg.fit_axis(values, "validation accuracy", svg.percent, limits=(0.0, 1.0))


def interval(
    ends: Sequence[float] | None, at: float, scale: tuple[float, float]
) -> Markup:
    """A small line from end to end with a dot at `at`, on the `scale` (low, high)."""
    low, high = scale
    width = 120

    def place(value: float) -> float:
        return 4 + (width - 8) * (value - low) / ((high - low) or 1)

    line = ""
    if ends is not None:
        line = f'<path d="M{place(ends[0]):.1f} 7H{place(ends[1]):.1f}"/>'
    return Markup(  # noqa: S704  numbers alone
        f'<svg class="span" viewBox="0 0 {width} 14" width="{width}" height="14" '
        f'aria-hidden="true">{line}<circle cx="{place(at):.1f}" cy="7" r="3.5"/></svg>'
    )


def shade_by_rank(trials: Sequence[Row]) -> dict[int, int]:
    """The class of each trial's accuracy, 0 (lowest) to SHADES - 1, by number."""

    def score(row: Row) -> float:
        last = row["curve"][-1][1] if row["curve"] else 0.0
        return row["validation_accuracy"] or last

    ranked = sorted(trials, key=score)
    count = max(1, len(ranked))
    return {row["number"]: SHADES * rank // count for rank, row in enumerate(ranked)}


def _varying(trials: Sequence[Row]) -> list[str]:
    names = {name: None for row in trials for name in row["flags"]}
    return [n for n in names if len({str(row["flags"].get(n)) for row in trials}) > 1]


class _Axis:
    """A vertical axis of parallel coordinates.

    Attributes:
        heights: of each value, in pixels.
    """

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self.name = name
        numbers = [v for v in values if type(v) in (int, float)]
        if len(numbers) == len(values) and len(set(numbers)) > 1:
            self._place_numbers(numbers)
        else:
            self._place_words(list(map(str, values)))

    def _place_numbers(self, numbers: list[float]) -> None:
        """On a logarithmic scale where they span more than a factor of 20."""
        low, high = min(numbers), max(numbers)
        bend = math.log if low > 0 and high / low > 20 else float
        axis = svg.Axis(bend(low), bend(high), ())
        self.heights = [_height(axis.at(bend(value))) for value in numbers]
        percent = self.name == "accuracy"
        ends = ((low, 0.0), (high, 1.0))
        self.labels = [(_text(value, percent), _height(at)) for value, at in ends]

    def _place_words(self, words: list[str]) -> None:
        distinct = sorted(set(words))
        last = max(1, len(distinct) - 1)
        place = {word: _height(rank / last) for rank, word in enumerate(distinct)}
        self.heights = [place[word] for word in words]
        self.labels = list(place.items())

    def draw(self, x: float) -> str:
        """The axis at `x`, with its labels."""
        short = self.name.removeprefix("model_kwargs.")
        texts = [
            f'<text x="{x + 6:.1f}" y="{y + 4:.1f}">{escape(label[:18])}</text>'
            for label, y in self.labels
        ]
        return (
            f'<path class="axis" d="M{x:.1f} {MARGIN}V{HEIGHT - MARGIN}"/>'
            f'<text class="name" x="{x:.1f}" y="20">{escape(short[:22])}</text>'
            f"{''.join(texts)}"
        )


def _height(share: float) -> float:
    """Vertical position of a share of an axis, 0 at its lower end."""
    return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)


def _text(value: float, percent: bool = False) -> str:
    return f"{100 * value:.1f}%" if percent else f"{value:.3g}"


def _line(row: Row, shade: int, points: Sequence[Point], state: str = "") -> str:
    return (
        f'<polyline class="line trial shade{shade}{state}" '
        f'data-trial="{row["number"]}" points="{_points(points)}">{_title(row)}'
        "</polyline>"
    )


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _title(row: Row) -> str:
    flags = ", ".join(f"{name}={value}" for name, value in row["flags"].items())
    score = row["validation_accuracy"]
    known = "" if score is None else f", {_text(score, percent=True)}"
    return f"<title>trial {row['number']}: {escape(flags)}{known}</title>"
