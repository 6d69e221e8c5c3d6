"""Classes: whether a data set has those that a model knows, by name.

Every command that asks a model about a data set comes through here: its numbers mean
classes by the model's own names, whatever the data set calls them.
"""

import dataclasses
import typing
from collections.abc import Sequence

import numpy as np

from trainer.errors import InvalidInput
from trainer.monitoring.printable import shortened

if typing.TYPE_CHECKING:
    from trainer.data.split import Split

_SHOWN = 5  # names in a message


def order(own: Sequence[str], data: Sequence[str], who: str) -> np.ndarray | None:
    """The place in `own` of each class of `data`, int64 [N]; None where all are equal.

    Raises:
        InvalidInput: `who` knows other classes than the data set has.
    """
    own, data = list(map(str, own)), list(map(str, data))
    if own == data:
        return None
    unlike = [name for name in own if name not in data]
    missing = [name for name in data if name not in own]
    if unlike or missing or len(set(own)) != len(own) or len(own) != len(data):
        raise InvalidInput(
            f"{who} has the classes {_short(unlike or own)} ({len(own)} in all); the"
            f" data set has {_short(missing or data)} ({len(data)} in all);\n"
            "--dataset=NAME must name one of the same classes"
        )
    return np.array([own.index(name) for name in data])


def check_shape(own: Sequence[int] | None, data: Sequence[int], who: str) -> None:
    """Checks that a data set has images of the shape that a model was trained on.

    Raises:
        InvalidInput: `own`, the shape of the model `who`, is another one than `data`.
    """
    if own is not None and tuple(own) != tuple(data):
        raise InvalidInput(
            f"{who} was trained on images of {_product(own)}, the data set has"
            f" {_product(data)};\n--dataset=NAME must name one of that size"
        )


def relabelled(split: "Split", own: Sequence[str] | None, who: str) -> "Split":
    """`split` with the names and numbers that `who` has for its classes.

    Raises:
        InvalidInput: it knows other ones.
    """
    places = None if own is None else order(own, split.names, who)
    if places is None:
        return split
    labels = places[split.labels].astype(split.labels.dtype)
    return dataclasses.replace(split, labels=labels, names=tuple(own))


def remark(own: Sequence[str] | None, data: Sequence[str], who: str) -> str | None:
    """A line where the same classes are in another order, or None."""
    if own is None or list(own) == list(data):
        return None
    return (
        f"{who} has the data set's classes in another order: they are matched by name"
    )


def _short(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(map(shortened, names[:_SHOWN])) + more


def _product(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
