"""Options: descriptions of the fields of a config.

A field carries its help text, its bounds and the name of its flag, so that flags,
help, bounds, JSON and the flag table of the docs are all made from it::

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class DataConfig(Bounded):
        GROUP = "Data"
        crop_pixels: int = option(4, "Largest shift of a crop.", at_least=0, at_most=8)

Adding an option is this one edit, and one where the value is used; then
``python -m trainer.cli.flags > docs/flags.md`` writes the table of the docs again. A
help text names other options in backquotes.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from trainer.errors import InvalidConfig

KEY = "option"  # key in the metadata of a field

# The headings of the flags, in their order.
DATA, MODEL, PRETRAINED = "Data", "Model", "Pretrained weights"
OPTIMIZER, DISTILLATION = "Optimizer", "Distillation"
SCHEDULE, DEVICES = "Schedule", "Devices and arithmetic"
RUN, REPORTS = "Run directory", "Reports"
GROUPS = [DATA, MODEL, PRETRAINED, OPTIMIZER, DISTILLATION, SCHEDULE, DEVICES]
GROUPS += [RUN, REPORTS]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounds:
    """The range of a number; None: no bound."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"within {self.at_least} to {self.at_most}"
        limits = {
            "at least": self.at_least,
            "above": self.above,
            "at most": self.at_most,
            "below": self.below,
        }
        words = [f"{word} {end}" for word, end in limits.items() if end is not None]
        return " and ".join(words) or "finite"

    def contain(self, value: float) -> bool:
        """Whether `value` is in range; NaN and infinity never are."""
        return not (
            (isinstance(value, float) and not math.isfinite(value))
            or (self.at_least is not None and value < self.at_least)
            or (self.above is not None and value <= self.above)
            or (self.at_most is not None and value > self.at_most)
            or (self.below is not None and value >= self.below)
        )

    def check(self, name: str, value: Any) -> None:
        """Raises InvalidConfig if `value` is a number that is out of range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        finite = "a finite number " if isinstance(value, float) else ""
        require(self.contain(value), f"{name}={value} must be {finite}{self}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """The description of one field.

    Attributes:
        help: one or two sentences, shown with the flag.
        group: the heading of the flag; None: GROUP of its class.
        flag: its name on the command line; None: the field's name.
        parse: makes the value of the flag's name and its text, or of its texts where
            the field is a dictionary; None: by the field's type.
        bounds: of a number.
    """

    help: str
    group: str | None = None
    flag: str | None = None
    parse: Callable[[str, Any], Any] | None = None
    bounds: Bounds = Bounds()


def option(
    default: Any,
    help: str,  # noqa: A002
    *,
    group: str | None = None,
    flag: str | None = None,
    parse: Callable[[str, Any], Any] | None = None,
    **bounds: float,
) -> Any:
    """Creates a dataclass field with its Option; `bounds` are those of Bounds."""
    described = Option(
        help=help, group=group, flag=flag, parse=parse, bounds=Bounds(**bounds)
    )
    if isinstance(default, dict):  # equal configs have equal hashes without it, too
        return dataclasses.field(
            default_factory=lambda: dict(default), hash=False, metadata={KEY: described}
        )
    return dataclasses.field(default=default, metadata={KEY: described})


def require(condition: bool, message: str) -> None:
    """Raises InvalidConfig(message) unless `condition`."""
    if not condition:
        raise InvalidConfig(message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounded:
    """A config whose numbers are checked against the bounds of their fields.

    GROUP is the heading of the flags of its fields, where a field names no other.
    """

    GROUP = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if found := field.metadata.get(KEY):
                name = found.flag or field.name
                found.bounds.check(name, getattr(self, field.name))
