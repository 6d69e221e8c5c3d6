"""A chart with two axes as SVG, whose colours are those of the page's style.

A chart is as many units wide as it gets pixels on a phone and beside others, so that
its text of 12 units can be read everywhere. Lines and points have the classes s0, s1
and so on, whose colours colours.css defines for light, dark and printed pages.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from html import escape

from markupsafe import Markup

WIDTH, NARROW = 440, 340
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 30, 40  # margins
TICKS = 5  # about so many on an axis
COLOURS = 6  # series that differ by colour; later ones are dashed
LETTER = 6.2  # mean width of a letter of 12 units


@dataclasses.dataclass(frozen=True)
class Axis:
    """A linear axis.

    Attributes:
        low, high: its ends.
        ticks: values that have a mark.
        text: formats a value.
        title: what is measured.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    text: Callable[[float], str] = "{:g}".format
    title: str = ""

    def at(self, value: float) -> float:
        """Position of `value`, 0 to 1, cut at the ends."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def fit_axis(
    values: Sequence[float],
    title: str = "",
    text: Callable[[float], str] = "{:g}".format,
    *,
    limits: tuple[float, float] = (-math.inf, math.inf),
    ends: tuple[float | None, float | None] = (None, None),
) -> Axis:
    """Chooses an axis with round ticks around `values`.

    Args:
        limits: the axis does not go beyond, such as (0, 1) for shares.
        ends: fixed ends; None is chosen.
    """
    least = min(values, default=0.0) if ends[0] is None else ends[0]
    most = max(values, default=1.0) if ends[1] is None else ends[1]
    if most <= least:
        least, most = least - 0.5 * (ends[0] is None), most + 0.5
    step = _round_step((most - least) / TICKS)
    low = least if ends[0] is not None else math.floor(least / step + 1e-9) * step
    high = most if ends[1] is not None else math.ceil(most / step - 1e-9) * step
    low, high = max(low, limits[0]), min(high, limits[1])
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple(round(n * step, 12) for n in range(first, last + 1))
    return Axis(low, high, ticks, text, title)


def _round_step(step: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= step * 0.999)


def percent(value: float) -> str:
    """Formats a share for an axis: 0.975 as '97.5 %'."""
    return f"{round(100 * value, 6):g}\u202f%"


def compact(value: float) -> str:
    """Formats a number for an axis: 3000 as '3k', 0.003 as '0.003'."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:g}"


class Chart:
    """An SVG with axes, to which marks are added in the units of the data."""

    def __init__(
        self, x: Axis, y: Axis, height: int = 260, *, width: int = WIDTH, below: int = 0
    ) -> None:
        """Draws grid and axes; `below` units are left free under the x axis' title."""
        self.x, self.y, self.width = x, y, width
        self.height, self._below = height + below, below
        self._floor = height - BOTTOM
        self._parts: list[str] = []
        self._draw_axes()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Position of a point of the data in the SVG."""
        right = LEFT + self.x.at(x) * (self.width - LEFT - RIGHT)
        return round(right, 1), round(self.row(self.y.at(y)), 1)

    def row(self, share: float) -> float:
        """Vertical position of a share of the height, 0 at the x axis."""
        return self._floor - share * (self._floor - TOP)

    def add(self, element: str) -> None:
        """Adds an element that is written already."""
        self._parts.append(element)

    def line(self, xs: Sequence[float], ys: Sequence[float], series: int = 0) -> None:
        """Adds a line through points."""
        points = " ".join(f"{a:g},{b:g}" for a, b in map(self.place, xs, ys))
        self.add(f'<polyline class="line {style(series)}" points="{points}"/>')

    def band(
        self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float]
    ) -> None:
        """Adds the area between two lines, such as an interval."""
        upper = list(map(self.place, xs, highs))
        lower = list(map(self.place, xs, lows))[::-1]
        points = " ".join(f"{a:g},{b:g}" for a, b in upper + lower)
        self.add(f'<polygon class="band s0" points="{points}"/>')

    def point(self, x: float, y: float, series: int = 0, said: str = "") -> None:
        """Adds a point; a mouse over it shows `said`."""
        a, b = self.place(x, y)
        title = f"<title>{escape(said)}</title>" if said else ""
        self.add(
            f'<circle class="dot {style(series)}" cx="{a:g}" cy="{b:g}" r="3.5">'
            f"{title}</circle>"
        )

    def whisker(self, x: float, low: float, high: float, series: int = 0) -> None:
        """Adds a vertical line from `low` to `high`."""
        (a, b), (_, c) = self.place(x, low), self.place(x, high)
        self.add(f'<path class="line {style(series)}" d="M{a:g} {b:g}V{c:g}"/>')

    def legend(self, names: Sequence[str]) -> None:
        """Names the series in a row above the chart; long names are cut."""
        at = 20 + 1.1 * LETTER * len(self.y.title) if self.y.title else float(LEFT)
        room = (self.width - at) / max(len(names), 1) - 38
        for series, name in enumerate(names):
            most = max(4, int(room / LETTER))
            text = name if len(name) <= most else f"{name[: most - 1]}…"
            self.add(
                f'<path class="line {style(series)}" d="M{at:.0f} 12h18"/>'
                f'<text x="{at + 23:.0f}" y="16">{escape(text)}</text>'
            )
            at += 38 + LETTER * len(text)

    def render(self, label: str) -> Markup:
        """Renders the SVG; `label` describes it to those who do not see it."""
        box = f"0 0 {self.width} {self.height}"
        return Markup(
            f'<svg class="chart" role="img" aria-label="{escape(label)}"'
            f' viewBox="{box}">{"".join(self._parts)}</svg>'
        )

    def _draw_axes(self) -> None:
        right, bottom = self.width - RIGHT, self._floor
        for value in self.y.ticks:
            b = self.row(self.y.at(value))
            self.add(f'<path class="grid" d="M{LEFT} {b:.1f}H{right}"/>')
            self.add(_text(LEFT - 6, b + 4, self.y.text(value), "end"))
        for value in self.x.ticks:
            a = LEFT + self.x.at(value) * (right - LEFT)
            self.add(f'<path class="tick" d="M{a:.1f} {bottom}v4"/>')
            anchor = "end" if a > right - 8 else "middle"
            shift = 8 * (anchor == "end")
            self.add(_text(a + shift, bottom + 17, self.x.text(value), anchor))
        self.add(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
        self.add(_text((LEFT + right) / 2, bottom + 35, self.x.title, "middle"))
        if self.y.title:
            self.add(f'<text class="title" x="0" y="16">{escape(self.y.title)}</text>')


def style(series: int) -> str:
    """Class names of a series."""
    dashed = f" d{series // COLOURS}" if series >= COLOURS else ""
    return f"s{series % COLOURS}{dashed}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def standalone(chart: Markup, css: str) -> bytes:
    """The file of a chart that a page has."""
    text = str(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return text.replace(">", f"><style>{css}</style>", 1).encode()
