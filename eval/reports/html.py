"""Renders HTML pages as single files that load nothing from a network."""

import base64
import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from eval.predictors import engine
from eval.reports.pages import wording
from trainer.config.serialization import flatten
from trainer.monitoring.printable import abbreviate

# Control characters and surrogates, which HTML must not contain but names may have.
_NO_HTML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_TEMPLATES = pathlib.Path(__file__).parent / "templates"


_STYLES = ("colours.css", "style.css", "chart.css", "study.css")
_LOST = (0.02, 0.1, 0.25, 0.5, 0.75)  # shares of accuracy that shades begin at


def render(template: str, *, style_attributes: bool = True, **values: object) -> bytes:
    """Renders `template` as UTF-8; text is escaped, missing values raise.

    The page holds its style and its script, and its policy lets no other run and asks
    no host for anything.

    Args:
        style_attributes: whether elements of the page have the attribute "style".
    """
    script, style = _load("page.js"), "\n".join(map(_load, _STYLES))
    styles = "'unsafe-inline'" if style_attributes else _source(style)
    page = (
        _environment()
        .get_template(template)
        .render(
            values,
            style=Markup(style),
            script=Markup(script),
            policy=Markup(
                f"default-src 'none'; img-src data:; style-src {styles}; "
                f"script-src {_source(script)}"
            ),
        )
    )
    return _NO_HTML.sub("\ufffd", page).encode()


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=wording.percent,
        number=format_number,
        span=wording.span,
        size=wording.size,
        milliseconds=wording.milliseconds,
        seconds=wording.seconds,
        count=wording.count,
        likeliest=format_likeliest,
        loss=shade_of_loss,
        flat=table_rows,
        words=spaced,
        name=class_name,
        engine=engine.format_engine,
    )
    environment.tests["contains"] = lambda values, one: one in values
    return environment


@functools.cache
def _load(name: str) -> str:
    return (_TEMPLATES / name).read_text()


def _source(text: str) -> str:
    """The source of a content security policy that allows this very inline text."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def chart_style() -> str:
    """The style of a chart that stands alone, in the colours of a light page."""
    return _load("colours.css").split("@media")[0] + _load("chart.css")


def format_likeliest(found: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Formats the likeliest classes of an image as JSON: [[name, probability]]."""
    rows = [[class_name(names[e["class"]]), round(e["probability"], 5)] for e in found]
    return json.dumps(rows, ensure_ascii=False)


def shade_of_loss(accuracy: float, clean: float) -> int:
    """The shade, 0 to 5, of an accuracy where `clean` images have another."""
    lost = 1 - accuracy / clean if clean else 0.0
    return sum(lost >= limit for limit in _LOST)


def format_number(value: float | None, digits: int = 4) -> str:
    """Formats a number with `digits` after the point, None as a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def spaced(name: str) -> str:
    """Formats 'learning_rate' as 'learning rate'."""
    return name.replace("_", " ")


def class_name(text: str) -> str:
    """Formats the name of a class as one line of at most 60 characters."""
    return abbreviate(text, 60) or "(blank)"


def table_rows(value: object) -> list[tuple[str, str]]:
    """Formats nested JSON as (dotted name, text) pairs, the rows of a table."""
    return [(name, _format_value(item)) for name, item in flatten(value).items()]


def _format_value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return "–" if value is None else str(value)
