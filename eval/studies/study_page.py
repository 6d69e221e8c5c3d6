"""Renders study.html: one file that loads nothing from a network."""

import base64
import functools
import hashlib
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from eval.studies import charts
from trainer.config.serialization import flatten

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
# Control characters and surrogates, which HTML must not contain but flags may have.
_NO_HTML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
NARROW = "\N{NARROW NO-BREAK SPACE}"


def render(found: Mapping[str, Any]) -> bytes:
    """Renders the page of a summary."""
    trials = found["trials"]
    draw = functools.partial(_draw_interval, scale=_scale(trials))
    return _render(
        "study.html.j2",
        {"interval": draw},
        found=found,
        winner=found["winner"],
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
    return _render("groups.html.j2", {"points": format_points}, found=found)


def _render(
    template: str, more: Mapping[str, Callable[..., object]], **values: object
) -> bytes:
    """Renders `template` with style and script inside; `more` are its own filters."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=format_percent,
        span=format_span,
        value=format_value,
        flags=format_flags,
        flat=_table_rows,
        short=lambda name: name.removeprefix("model_kwargs."),
        **more,
    )
    style, script = (_read(f"study.{kind}") for kind in ("css", "js"))
    page = environment.get_template(template).render(
        **values,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_source(style)}; "
        f"script-src {_source(script)}",
    )
    return _NO_HTML.sub("\ufffd", page).encode()


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


def _read(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text())  # noqa: S704  our own files


def _source(text: str) -> str:
    """The source of a content security policy that allows this very text."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


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
    return Markup("{} {}").format(drawn, format_span(ends))


def format_percent(value: float | None) -> str:
    """Formats 0.8731 as '87.31 %', None as a dash."""
    return f"{100 * value:.2f}{NARROW}%" if isinstance(value, int | float) else "–"


def format_span(ends: Sequence[float] | None) -> str:
    """Formats an interval of fractions as '86.6 to 87.9 %', None as a dash."""
    if not ends:
        return "–"
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}{NARROW}%"


def format_points(ends: Sequence[float] | None) -> str:
    """Formats an interval of differences as '-0.5 to +1.2 points', None as a dash."""
    if not ends:
        return "–"
    return f"{100 * ends[0]:+.2f} to {100 * ends[1]:+.2f} points"


def format_value(value: object) -> str:
    """Formats a flag or a number with four digits, a missing one as a dash."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None or isinstance(value, jinja2.Undefined) else str(value)


def format_flags(flags: Mapping[str, Any]) -> str:
    """Formats the flags of a configuration in one line."""
    shown = [f"{name}={format_value(value)}" for name, value in flags.items()]
    return ", ".join(shown) or "the flags as they are"


def _table_rows(value: object) -> list[tuple[str, str]]:
    """Formats nested JSON as (dotted name, text) pairs."""
    rows = []
    for name, item in flatten(value).items():
        text = item
        if isinstance(item, list | tuple):
            text = ", ".join(map(str, item))
        rows.append((name, "–" if text is None else str(text)))
    return rows
