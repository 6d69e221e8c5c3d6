"""Matches stored weights to the variables of a network, by name and shape."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.utils.naming import to_snake_case

from trainer.errors import InvalidInput
from trainer.pretrained.freezing import head_layers
from trainer.pretrained.weight_files import StoredLayer, StoredWeights

_SHOWN = 4  # names in a message
_KINDS = {"batch_norm": "batch_normalization"}  # our class of a class of Keras


@dataclasses.dataclass(frozen=True)
class Matching:
    """Which weights of a network were taken from elsewhere.

    Attributes:
        taken: values by the path of the variable.
        new: paths of the variables that keep their first random values.
        unused: stored weights or layers that the network has no place for.
    """

    taken: Mapping[str, np.ndarray]
    new: Sequence[str]
    unused: Sequence[str]

    def recorded(self) -> dict[str, Any]:
        """Describes it for config.json."""
        return {
            "taken": list(self.taken),
            "numbers": sum(array.size for array in self.taken.values()),
            "new": list(self.new),
            "unused": list(self.unused),
        }


@dataclasses.dataclass(frozen=True)
class _Unit:
    """Variables that a file keeps together: those of a layer, or of a part of one."""

    name: str
    kind: str
    variables: list[keras.Variable]
    in_head: bool

    def misfit(self, stored: StoredLayer) -> str | None:
        """Says how the shapes differ; None if they are equal."""
        have = [tuple(array.shape) for array in stored.arrays]
        want = [tuple(variable.shape) for variable in self.variables]
        if have == want:
            return None
        return f"{_shapes(have)} there, {_shapes(want)} here"


def match(body: keras.Model, stored: StoredWeights, option: str) -> Matching:
    """Matches `stored` to the variables of `body`; assigns nothing.

    A head whose shape differs is new, as is that of a run for other classes. `option`
    names the weights in messages.

    Raises:
        InvalidInput: another weight has the same name and another shape, or no weight
            of the backbone is there.
    """
    heads = head_layers(body)
    units = list(_units(body, heads))
    if stored.by_path:
        taken, unused = _by_path(units, stored.by_path, option)
    else:
        taken, unused = _by_layer(units, stored.layers, option)
    backbone = [v.path for u in units if not u.in_head for v in u.variables]
    if backbone and taken.keys().isdisjoint(backbone):
        raise InvalidInput(
            f"{option} has no weights of this network: it has {_listed(unused)}, the "
            f"network {_listed(backbone)}; name weights of the same network"
        )
    every = [v.path for v in body.variables]
    return Matching(taken, [path for path in every if path not in taken], unused)


def assign(body: keras.Model, matching: Matching) -> None:
    """Assigns the weights that were taken, in the dtype of the variables."""
    for variable in body.variables:
        if variable.path in matching.taken:
            value = matching.taken[variable.path]
            variable.assign(
                value.astype(keras.backend.standardize_dtype(variable.dtype))
            )


def check_complete(matching: Matching, option: str) -> None:
    """Raises InvalidInput unless every weight was taken, as `qat` needs."""
    if matching.new:
        raise InvalidInput(
            f"{option} has no {_listed(matching.new)} for this network; `qat` "
            "fine-tunes a finished run of the same network, options and classes"
        )


def describe(recorded: Mapping[str, Any]) -> list[str]:
    """Describes what a training starts from, in at most four lines."""
    taken, new, unused = (recorded[key] for key in ("taken", "new", "unused"))
    lines = [
        f"took {len(taken)} of {len(taken) + len(new)} weights "
        f"({recorded['numbers']:,} numbers) from {recorded['from']} "
        f"({recorded['sha256'][:12]})"
    ]
    if new:
        lines.append(f"new, not taken: {_listed(new)}")
    if unused:
        lines.append(f"of these weights not used: {_listed(unused)}")
    if frozen := recorded["frozen"]:
        steps = recorded["frozen_steps"]
        until = f" in the first {steps:,} steps" if steps else ""
        lines.append(f"frozen{until}: {_listed(frozen)}")
    return lines


def without_head(body: keras.Model, matching: Matching) -> Matching:
    """`matching` with a new head, for other classes."""
    heads = {v.path for name in head_layers(body) for v in body.get_layer(name).weights}
    taken = {path: a for path, a in matching.taken.items() if path not in heads}
    new = [v.path for v in body.variables if v.path not in taken]
    dropped = [path for path in matching.taken if path in heads]
    return Matching(taken, new, [*matching.unused, *dropped])


def _units(body: keras.Model, heads: frozenset[str]) -> Iterator[_Unit]:
    """Yields the layers with weights; a layer of layers in its parts."""
    for layer in body.layers:
        parts: dict[str, list[keras.Variable]] = {}
        for variable in layer.variables:
            parts.setdefault(variable.path.rpartition("/")[0], []).append(variable)
        kind = to_snake_case(type(layer).__name__)
        for path, variables in parts.items():
            kept = [v for v in variables if not _is_constant(layer, v)]
            yield _Unit(path, _KINDS.get(kind, kind), kept, layer.name in heads)


def _is_constant(layer: keras.Layer, variable: keras.Variable) -> bool:
    """Whether Keras' batch normalisation would not have this variable."""
    switches = {"gamma": "scale", "beta": "center"}
    return not getattr(layer, switches.get(variable.name, ""), True)


def _by_path(
    units: Sequence[_Unit], arrays: Mapping[str, np.ndarray], option: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    taken: dict[str, np.ndarray] = {}
    for unit in units:
        found = {v.path: arrays[v.path] for v in unit.variables if v.path in arrays}
        wrong = [
            f"{v.path} is {_shapes([found[v.path].shape])} there, "
            f"{_shapes([tuple(v.shape)])} here"
            for v in unit.variables
            if v.path in found and found[v.path].shape != tuple(v.shape)
        ]
        if not wrong:
            taken |= found
        elif not unit.in_head:
            raise _misfit(option, wrong[0])
    return taken, [path for path in arrays if path not in taken]


def _by_layer(
    units: Sequence[_Unit], stored: Sequence[StoredLayer], option: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Matches by name, or by position where names are numbers that Keras counted."""
    names = {unit.name for unit in units}
    by_name = {n: s for s in stored if (n := _name_among(s, names)) is not None}
    pairs = [(unit, by_name.get(unit.name)) for unit in units]
    if not _complete(pairs):
        for in_order in (_in_file_order(units, stored), _in_kind_order(units, stored)):
            if _complete(in_order):
                pairs = in_order
                break
    taken: dict[str, np.ndarray] = {}
    used: set[int] = set()
    for unit, layer in pairs:
        if layer is None:
            continue
        if (wrong := unit.misfit(layer)) is None:
            taken |= {
                v.path: a for v, a in zip(unit.variables, layer.arrays, strict=True)
            }
            used.add(id(layer))
        elif not unit.in_head:
            raise _misfit(option, f"{unit.name} is {wrong}")
    return taken, ["/".join(s.names) for s in stored if id(s) not in used]


Pairs = list[tuple[_Unit, StoredLayer | None]]


def _complete(pairs: Pairs) -> bool:
    """Whether each layer outside the head has a stored one of its shapes."""
    return all(
        unit.in_head or (layer is not None and unit.misfit(layer) is None)
        for unit, layer in pairs
    )


def _name_among(stored: StoredLayer, names: set[str]) -> str | None:
    """Finds the name of a stored layer, whatever models it was nested in."""
    for first in range(len(stored.names)):
        for joint in "/_":
            if (name := joint.join(stored.names[first:])) in names:
                return name
    return None


def _in_file_order(units: Sequence[_Unit], stored: Sequence[StoredLayer]) -> Pairs:
    """Pairs the n-th layers, as Keras does with the files of keras.applications."""
    if any(layer.kind for layer in stored):
        return [(unit, None) for unit in units]
    rest = iter([layer for layer in stored if not layer.is_normalization])
    return [(unit, next(rest, None)) for unit in units]


def _in_kind_order(units: Sequence[_Unit], stored: Sequence[StoredLayer]) -> Pairs:
    """Pairs the n-th layers of each kind, as Keras 3 does; their parts by name."""
    numbers: dict[str | None, set[int]] = {}
    for layer in stored:
        numbers.setdefault(layer.kind, set()).add(layer.number)
    places = {k: dict(enumerate(sorted(found))) for k, found in numbers.items()}
    found = {(x.kind, x.number, x.names[1:]): x for x in stored if x.kind}
    seen: dict[str, list[str]] = {}
    pairs = []
    for unit in units:
        name, *part = unit.name.split("/")
        names = seen.setdefault(unit.kind, [])
        if name not in names:
            names.append(name)
        number = places.get(unit.kind, {}).get(names.index(name))
        pairs.append((unit, found.get((unit.kind, number, tuple(part)))))
    return pairs


def _misfit(option: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"{option} does not fit this network: {what}; use the options of the network "
        "that has these weights"
    )


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    texts = ["x".join(map(str, shape)) or "one number" for shape in shapes]
    return " and ".join(texts) if math.prod(map(len, texts)) < 200 else texts[0]


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN]) or "none"
    return f"{shown} and {rest} more" if rest > 0 else shown
