"""Nested dictionaries of settings: made plain, and compared."""

import enum
from typing import Any


def plain(value: Any) -> Any:
    """Nested dictionaries with every enum replaced by its value."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value.value if isinstance(value, enum.Enum) else value


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
