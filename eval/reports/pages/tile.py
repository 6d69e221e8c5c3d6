"""A tile at the head of a page."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Tile:
    """A number that decides, and what it says.

    Attributes:
        label: what is measured.
        value: its number.
        detail: interval, meaning or condition.
        link: anchor of the section that has more.
        warning: whether the number is a reason to hesitate.
    """

    label: str
    value: str
    detail: str
    link: str = ""
    warning: bool = False
