"""Renders HTML pages as single files that load nothing from a network."""

import pathlib
import re
from collections.abc import Sequence

import jinja2

from eval.predictors import engine
from trainer.config.serialization import flatten
from trainer.monitoring import pictures

# Control characters and surrogates, which HTML must not contain but names may have.
_NO_HTML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_TEMPLATES = pathlib.Path(__file__).parent / "templates"


def render(template: str, **values: object) -> bytes:
    """Renders `template` as UTF-8; text is escaped, missing values raise."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=format_percent,
        number=format_number,
        span=format_interval,
        flat=table_rows,
        words=spaced,
        name=class_name,
        engine=engine.format_engine,
    )
    page = environment.get_template(template).render(values)
    return _NO_HTML.sub("\ufffd", page).encode()


def format_percent(value: float | None, digits: int = 1) -> str:
    """Formats 0.8731 as '87.3 %', None as a dash."""
    return "–" if value is None else f"{100 * value:.{digits}f}\u202f%"


def format_number(value: float | None, digits: int = 4) -> str:
    """Formats a number with `digits` after the point, None as a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def format_interval(ends: Sequence[float], digits: int = 1) -> str:
    """Formats an interval of fractions as '86.6 to 87.9 %'."""
    low, high = (f"{100 * end:.{digits}f}" for end in ends)
    return f"{low} to {high}\u202f%"


def spaced(name: str) -> str:
    """Formats 'learning_rate' as 'learning rate'."""
    return name.replace("_", " ")


def class_name(text: str) -> str:
    """Formats the name of a class as one line of at most 60 characters."""
    return pictures.short(text, 60) or "(blank)"


def table_rows(value: object) -> list[tuple[str, str]]:
    """Formats nested JSON as (dotted name, text) pairs, the rows of a table."""
    return [(name, _format_value(item)) for name, item in flatten(value).items()]


def _format_value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return "–" if value is None else str(value)
