"""Charts of a study as inline SVG; colours and strokes are in the page's style.

Every mark of a trial has the attribute data-trial, by which the page highlights it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT, MARGIN = 920, 340, 44
SHADES = 5  # classes of accuracy, by rank
Row = Mapping[str, Any]


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
        points = [
            f"{x:.1f},{axis.heights[place]:.1f}"
            for axis, x in zip(axes, places, strict=True)
        ]
        parts.append(_mark(row, f"line s{shades[row['number']]}", points))
    return _figure(parts, "Flags of each trial and its validation accuracy")


def learning_curves(trials: Sequence[Row]) -> Markup | None:
    """Validation accuracy over epochs, a line for each trial; None without any."""
    shown = [row for row in trials if row["curve"]]
    if not shown:
        return None
    points = [point for row in shown for point in row["curve"]]
    across = _Scale([0.0, *(x for x, _ in points)], MARGIN, WIDTH - MARGIN)
    up = _Scale([y for _, y in points], HEIGHT - MARGIN, 20)
    parts = [_frame(across, up, "epoch", "validation accuracy", percent=True)]
    shades = shade_by_rank(shown)
    for row in shown:
        line = [f"{across(x):.1f},{up(y):.1f}" for x, y in row["curve"]]
        if len(line) == 1:
            line.append(line[0])
        state = " ended" if row["state"] == "complete" else ""
        parts.append(_mark(row, f"line s{shades[row['number']]}{state}", line))
    return _figure(parts, "Validation accuracy of each trial over epochs")


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
    pairs = [(row["values"][first], row["values"][second]) for row in shown]
    across = _Scale([y for _, y in pairs], MARGIN + 16, WIDTH - MARGIN)
    up = _Scale([x for x, _ in pairs], HEIGHT - MARGIN, 20)
    parts = [_frame(across, up, second, first, percent=first == "accuracy")]
    line = " ".join(f"{across(y):.1f},{up(x):.1f}" for _, x, y in front)
    parts.append(f'<polyline class="front" points="{line}"/>')
    best = {int(point[0]) for point in front}
    for row, (x, y) in zip(shown, pairs, strict=True):
        kind = "dot best" if row["number"] in best else "dot"
        parts.append(
            f'<circle class="{kind}" data-trial="{row["number"]}" r="5" '
            f'cx="{across(y):.1f}" cy="{up(x):.1f}">{_title(row)}</circle>'
        )
    return _figure(parts, f"{first} against {second}; a line joins the best ones")


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


class _Scale:
    """Maps values to pixels from `start` to `end`."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low, self.high = min(values), max(values)
        if self.low == self.high:
            self.low, self.high = self.low - 0.5, self.high + 0.5
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Values in equal steps from the lowest to the highest."""
        return [self.low + (self.high - self.low) * n / count for n in range(count + 1)]


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
        scale = _Scale([bend(low), bend(high)], HEIGHT - MARGIN, MARGIN)
        self.heights = [scale(bend(value)) for value in numbers]
        percent = self.name == "accuracy"
        self.labels = [(_text(v, percent), scale(bend(v))) for v in (low, high)]

    def _place_words(self, words: list[str]) -> None:
        distinct = sorted(set(words))
        scale = _Scale([0, max(1, len(distinct) - 1)], HEIGHT - MARGIN, MARGIN)
        place = {word: scale(rank) for rank, word in enumerate(distinct)}
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


def _frame(
    across: _Scale, up: _Scale, below: str, beside: str, *, percent: bool
) -> str:
    """Both axes with ticks and names."""
    parts = [
        f'<text class="name" x="{WIDTH / 2}" y="{HEIGHT - 6}">{escape(below)}</text>'
    ]
    parts.append(f'<text class="side" x="0" y="12">{escape(beside)}</text>')
    for value in up.ticks():
        y = up(value)
        parts.append(f'<path class="axis" d="M{MARGIN} {y:.1f}H{WIDTH - MARGIN}"/>')
        text = _text(value, percent)
        parts.append(
            f'<text class="left" x="{MARGIN - 4}" y="{y + 4:.1f}">{text}</text>'
        )
    for value in across.ticks():
        x = across(value)
        y, text = HEIGHT - MARGIN + 18, _text(value)
        parts.append(f'<text class="mid" x="{x:.1f}" y="{y}">{text}</text>')
    return "".join(parts)


def _text(value: float, percent: bool = False) -> str:
    return f"{100 * value:.1f}%" if percent else f"{value:.3g}"


def _mark(row: Row, kind: str, points: Sequence[str]) -> str:
    return (
        f'<polyline class="{kind}" data-trial="{row["number"]}" '
        f'points="{" ".join(points)}">{_title(row)}</polyline>'
    )


def _title(row: Row) -> str:
    flags = ", ".join(f"{name}={value}" for name, value in row["flags"].items())
    score = row["validation_accuracy"]
    known = "" if score is None else f", {_text(score, percent=True)}"
    return f"<title>trial {row['number']}: {escape(flags)}{known}</title>"


def _figure(parts: Sequence[str], label: str) -> Markup:
    return Markup(  # noqa: S704  texts are escaped where they are set
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
