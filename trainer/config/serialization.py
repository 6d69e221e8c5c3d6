"""Nested dictionaries of settings: made plain, compared, and held to a shape."""

import enum
import typing
from collections.abc import Mapping
from typing import Any


def to_plain(value: Any) -> Any:
    """Nested dictionaries with every enum replaced by its value."""
    if isinstance(value, dict):
        return {name: to_plain(item) for name, item in value.items()}
    return value.value if isinstance(value, enum.Enum) else value


def misfit(found: Mapping[str, Any], shape: Mapping[str, Any]) -> str | None:
    """What is wrong with the fields of a file, in words; None if all are there.

    `shape` has the type of each field; of float whole numbers are good, too.
    """
    for name, kind in shape.items():
        if name not in found:
            return f"it has no {name}"
        if not fits(found[name], kind):
            return f"its {name} is {found[name]!r:.60}"
    return None


def fits(value: Any, kind: Any) -> bool:
    """Whether `value`, read from JSON, is of type `kind`, which may be a union."""
    if kinds := typing.get_args(kind):
        return any(fits(value, each) for each in kinds)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def differences(
    ours: dict[str, Any], theirs: dict[str, Any], path: str = ""
) -> list[str]:
    """The fields in which two nested dictionaries differ, as 'a.b: 1 != 2'."""
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            found += differences(mine, other, f"{path}{name}.")
        elif mine != other:
            found.append(f"{path}{name}: {mine!r} != {other!r}")
    return found
