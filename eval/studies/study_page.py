"""The pages of a study and of groups of seeds, from their JSON alone."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from eval.reports import html
from eval.reports.pages import wording
from eval.reports.pages.tile import Tile
from eval.studies import charts


def render(found: Mapping[str, Any]) -> bytes:
    """Renders the page of a summary."""
    trials = found["trials"]
    return html.render(
        "study.html.j2",
        style_attributes=False,
        found=found,
        winner=found["winner"],
        tiles=_tiles(found["winner"]),
        interval=functools.partial(_draw_interval, scale=_scale(trials)),
        shown=format_value,
        flags_of=format_flags,
        flags=list({name: None for row in trials for name in row["flags"]}),
        states=", ".join(
            f"{count} {state}" for state, count in found["states"].items()
        ),
        unfinished=(found["planned"] or 0) > sum(_ended(found)),
        openings_note=_describe_openings(found["test_openings"]),
        charts={
            "parallel": charts.parallel_coordinates(trials),
            "curves": charts.learning_curves(trials),
            "front": charts.pareto_front(trials, found["objectives"], found["front"]),
        },
    )


def render_groups(found: Mapping[str, Any]) -> bytes:
    """Renders the page of a comparison of groups of seeds."""
    return html.render(
        "groups.html.j2", style_attributes=False, found=found, points=format_points
    )


def _tiles(winner: Mapping[str, Any] | None) -> list[Tile]:
    """The numbers of the best configuration; [] if there is none."""
    if winner is None:
        return []
    percent = functools.partial(wording.percent, digits=2)
    several = f", {winner['seeds']} seeds" if winner["seeds"] > 1 else ""
    spread = f"standard deviation {percent(winner['std'])}; other seeds, these images"
    return [
        Tile(
            f"configuration {winner['configuration']}{several}",
            percent(winner["mean"]),
            format_flags(winner["flags"]),
        ),
        Tile(
            "95 % over images",
            wording.span(winner["over_images"]),
            "these trainings, other images",
        ),
        Tile(
            "95 % over seeds",
            wording.span(winner["over_seeds"]),
            "one seed tells nothing" if winner["std"] is None else spread,
        ),
        Tile(
            "selection bias, at most",
            percent(winner["expected_maximum_of_noise"]),
            f"lead over the second: {percent(winner['lead'])}",
        ),
    ]


def _ended(found: Mapping[str, Any]) -> list[int]:
    return [n for state, n in found["states"].items() if state != "running"]


def _describe_openings(openings: Sequence[Mapping[str, Any]]) -> str:
    """A warning where the test split was opened more than once; otherwise ""."""
    weights = {one.get("weights_sha256") for one in openings}
    if len(openings) < 2:
        return ""
    if len(weights) > 1:
        return (
            f"The test split was opened {len(openings)} times, for {len(weights)} "
            "different weights: who chooses by these numbers has no test any more."
        )
    return f"The test split was opened {len(openings)} times, always for one model."


def _scale(trials: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The lowest and the highest end of all intervals."""
    ends = [e for row in trials for e in row["validation_accuracy_interval"] or ()]
    known = [row["validation_accuracy"] for row in trials]
    ends += [value for value in known if value is not None]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def _draw_interval(row: Mapping[str, Any], scale: tuple[float, float]) -> Markup:
    if row["validation_accuracy"] is None:
        return Markup("")
    ends = row["validation_accuracy_interval"]
    drawn = charts.interval(ends, row["validation_accuracy"], scale)
    return Markup("{} {}").format(drawn, wording.span(ends))


def format_points(ends: Sequence[float] | None) -> str:
    """Formats an interval of differences as '-0.5 to +1.2 points', None as a dash."""
    if not ends:
        return "–"
    return f"{100 * ends[0]:+.2f} to {100 * ends[1]:+.2f} points"


def format_value(value: object) -> str:
    """Formats a flag or a number with four digits, a missing one as a dash."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)


def format_flags(flags: Mapping[str, Any]) -> str:
    """Formats the flags of a configuration in one line."""
    shown = [f"{name}={format_value(value)}" for name, value in flags.items()]
    return ", ".join(shown) or "the flags as they are"
