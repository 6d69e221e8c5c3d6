"""HTML pages that are one file each and ask no network for anything."""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from eval.predictors import engine
from trainer.monitoring import pictures

# Controls that HTML must not hold, and halves of characters: names may have them.
_NO_HTML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_TEMPLATES = pathlib.Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> bytes:
    """The page of `template`, UTF-8; text is escaped, missing values raise."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        number=number,
        span=span,
        flat=flat,
        words=words,
        name=name,
        engine=engine.words,
    )
    page = environment.get_template(template).render(values)
    return _NO_HTML.sub("\ufffd", page).encode()


def percent(value: float | None, digits: int = 1) -> str:
    """0.8731 as '87.3 %'; None as a dash."""
    return "–" if value is None else f"{100 * value:.{digits}f}\u202f%"


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many digits after the point; None as a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def span(ends: Sequence[float], digits: int = 1) -> str:
    """An interval of shares as '86.6 to 87.9 %'."""
    low, high = (f"{100 * end:.{digits}f}" for end in ends)
    return f"{low} to {high}\u202f%"


def words(name: str) -> str:
    """'learning_rate' as 'learning rate'."""
    return name.replace("_", " ")


def name(text: str) -> str:
    """The name of a class in one line of at most 60 characters."""
    return pictures.short(text, 60) or "(blank)"


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested JSON as (dotted name, text) pairs, for a table."""
    if isinstance(value, Mapping):
        parts = [flat(v, f"{prefix}.{k}" if prefix else k) for k, v in value.items()]
        return [pair for part in parts for pair in part]
    if isinstance(value, list | tuple):
        value = ", ".join(str(item) for item in value)
    return [(prefix, "–" if value is None else str(value))]
