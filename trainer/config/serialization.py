"""Converts configs to nested plain values and back; checks fields of JSON files."""

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any

from trainer.errors import InvalidConfig


def to_plain(value: Any) -> Any:
    """Nested dictionaries as JSON holds them: enums by value, tuples as lists."""
    if isinstance(value, dict):
        return {name: to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value.value if isinstance(value, enum.Enum) else value


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Flattens nested dictionaries to values by dotted name, such as "optim.momentum".

    >>> flatten({"optim": {"momentum": 0.9}, "seed": 1})
    {'optim.momentum': 0.9, 'seed': 1}
    """
    if not isinstance(value, Mapping):
        return {path: value}
    found = {}
    for name, item in value.items():
        found |= flatten(item, f"{path}.{name}" if path else name)
    return found


def from_plain(kind: type, fields: Any, path: str = "") -> Any:
    """The dataclass of type `kind` that `to_plain` described.

    A field that is missing has its default, so that runs from before there was an
    option go on; a nested dataclass may not be missing.

    Args:
        kind: a dataclass; the types of its fields are held to.
        fields: what a JSON file has in its place.
        path: where that is in the file, "a.b.", for messages.

    Raises:
        InvalidConfig: a field is unknown, missing, of another type or out of range.
    """
    if not isinstance(fields, dict):
        raise InvalidConfig(f"its {path.rstrip('.') or 'config'} is {fields!r:.60}")
    hints, given = typing.get_type_hints(kind), {}
    if unknown := sorted(fields.keys() - hints.keys()):
        raise InvalidConfig(f"{path + unknown[0]!r:.60} is no field of this version")
    for field in dataclasses.fields(kind):
        name, hint = field.name, hints[field.name]
        if name in fields and dataclasses.is_dataclass(hint):
            given[name] = from_plain(hint, fields[name], f"{path}{name}.")
        elif name in fields and not fits(fields[name], hint):
            raise InvalidConfig(f"its {path}{name} is {fields[name]!r:.60}")
        elif name in fields:
            given[name] = _restore(fields[name], hint)
        elif dataclasses.is_dataclass(hint) or _required(field):
            raise InvalidConfig(f"it has no {path}{name}")
    return kind(**given)


def _required(field: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _restore(value: Any, hint: Any) -> Any:
    (hint, *_) = [kind for kind in _kinds(hint) if fits(value, kind)]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    return tuple(value) if typing.get_origin(hint) is tuple else value


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
    """Whether `value`, read from JSON, is of the type that the annotation `kind` names.

    It may be a union, a Literal, an Enum by its values, a container, or Any.
    """
    kinds = _kinds(kind)
    if len(kinds) > 1:
        return any(fits(value, each) for each in kinds)
    if kind is Any:
        return True
    if typing.get_origin(kind) is typing.Literal:
        return any(value == a and type(value) is type(a) for a in typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return any(value == member.value for member in kind)
    kind = typing.get_origin(kind) or kind
    if isinstance(value, bool):
        return kind in (bool, object)
    if kind in (float, tuple):
        return isinstance(value, int | float if kind is float else list | tuple)
    return isinstance(value, kind or types.NoneType)


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Lists the members of a union, or the type itself."""
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return typing.get_args(hint) if union else (hint,)


def differences(
    ours: dict[str, Any], theirs: dict[str, Any], path: str = ""
) -> list[str]:
    """Lists the fields in which two nested dictionaries differ, as 'a.b: 1 != 2'."""
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, dict) and isinstance(other, dict):
            found += differences(mine, other, f"{path}{name}.")
        elif mine != other:
            found.append(f"{path}{name}: {mine!r} != {other!r}")
    return found
