"""Words and numbers of pages: sizes, times, and what a calibration error means."""

from collections.abc import Mapping, Sequence
from typing import Any

BELIEVED = 0.02  # an ECE up to this is small
STATED = 0.9  # a confidence as an example
NOISE = 1.5  # times the ECE by chance: no more than that is shown either


def size(count: int | float | None) -> str:
    """Formats bytes as '158 kB', None as a dash."""
    if count is None:
        return "–"
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= power:
            return f"{_three(count / power)}\u202f{unit}"
    return f"{count}\u202fbytes"


def count(number: int | None) -> str:
    """Formats a number of things as '138,330' or '25.6 million', None as a dash."""
    if number is None:
        return "–"
    return f"{_three(number / 1e6)} million" if number >= 1e6 else f"{number:,}"


def _three(value: float) -> str:
    """Formats with three significant digits, without an exponent."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def milliseconds(value: float | None) -> str:
    """Formats a latency as '0.06 ms', None as a dash."""
    if value is None:
        return "–"
    return f"{value:.3f}\u202fms" if value < 0.1 else f"{_three(value)}\u202fms"


def seconds(value: float | None) -> str:
    """Formats a duration as '26 s', '4 min 10 s' or '2 h 5 min', None as a dash."""
    if value is None:
        return "–"
    whole = round(value)
    if whole < 60:
        return f"{whole}\u202fs" if value >= 10 else f"{value:.1f}\u202fs"
    if whole < 3600:
        return f"{whole // 60}\u202fmin {whole % 60}\u202fs"
    return f"{whole // 3600}\u202fh {whole % 3600 // 60}\u202fmin"


def percent(value: float | None, digits: int = 1) -> str:
    """Formats 0.8731 as '87.3 %', None as a dash."""
    return "–" if value is None else f"{100 * value:.{digits}f}\u202f%"


def span(ends: Sequence[float] | None, digits: int = 1) -> str:
    """Formats an interval of shares as '86.6 to 87.9 %', None as a dash."""
    if ends is None:
        return "–"
    low, high = (f"{100 * end:.{digits}f}" for end in ends)
    return f"{low} to {high}\u202f%"


def overconfidence(scores: Mapping[str, Any]) -> float:
    """Mean confidence minus accuracy, from the bins of reliability."""
    rows = scores["reliability"]
    total = sum(row["count"] for row in rows)
    return sum(r["count"] * (r["confidence"] - r["accuracy"]) for r in rows) / total


def is_believable(scores: Mapping[str, Any]) -> bool:
    """Whether the calibration error is small, or no larger than chance makes it."""
    chance = scores.get("ece_by_chance", 0.0)
    return scores["ece"] <= max(BELIEVED, NOISE * chance)


def calibration_verdict(scores: Mapping[str, Any]) -> str:
    """Says in a few words whether the confidence can be believed."""
    if is_believable(scores):
        return "its confidence can be believed"
    gap = overconfidence(scores)
    if abs(gap) < scores["ece"] / 3:
        return "its confidence is too high in places and too low in others"
    return f"it is {'too sure of itself' if gap > 0 else 'less sure than it could be'}"


def calibration_meaning(scores: Mapping[str, Any]) -> str:
    """Explains the calibration error in a sentence or two."""
    error, chance = scores["ece"], scores.get("ece_by_chance")
    text = (
        f"The confidence that the model states and the share of its answers that are "
        f"right lie {100 * error:.1f} points apart on average (ECE)."
    )
    if not is_believable(scores):
        text += (
            " So large an ECE means that a threshold on the confidence does not keep "
            "what it promises"
        )
        gap = overconfidence(scores)
        found = min(1.0, max(0.0, STATED - gap))
        if abs(gap) >= scores["ece"] / 3:
            text += (
                f": of answers that are {percent(STATED, 0)} sure, rather"
                f" {percent(found, 0)} are right"
            )
        text += "."
    if chance is not None:
        text += (
            f" Chance alone makes it about {100 * chance:.1f} with so many images, even"
            " of a model that is calibrated perfectly."
        )
    return text
