"""Matches the classes of a data set with those of a model, by name.

A data set may number the same classes in another order than the one that a model was
trained on. Every evaluation therefore uses the model's own class ids.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from trainer.data.split import Split
from trainer.errors import InvalidInput
from trainer.monitoring.printable import shortened

_SHOWN = 5  # names in a message


def match_classes(
    own: Sequence[str], data: Sequence[str], model: str
) -> np.ndarray | None:
    """Finds the model's class id of each class of a data set.

    Args:
        own: class names of the model, by class id.
        data: class names of the data set, by class id.
        model: what messages call the model.

    Returns:
        int64 [N] of the N classes of the data set; None where both orders are equal.

    Raises:
        InvalidInput: the two have different classes.
    """
    own, data = list(map(str, own)), list(map(str, data))
    if own == data:
        return None
    unlike = [name for name in own if name not in data]
    missing = [name for name in data if name not in own]
    if unlike or missing or len(set(own)) != len(own) or len(own) != len(data):
        raise InvalidInput(
            f"{model} has the classes {_short(unlike or own)} ({len(own)} in all); the"
            f" data set has {_short(missing or data)} ({len(data)} in all);\n"
            "dataset=NAME, `image_dir` or `image_list` must name one with the same"
            " classes"
        )
    return np.array([own.index(name) for name in data])


def check_shape(own: Sequence[int] | None, data: Sequence[int], model: str) -> None:
    """Checks that a data set has images of the shape that a model was trained on.

    Raises:
        InvalidInput: `own`, the shape that `model` takes, is another one than `data`.
    """
    if own is not None and tuple(own) != tuple(data):
        raise InvalidInput(
            f"{model} was trained on images of {_product(own)}, the data set has"
            f" {_product(data)};\ndataset=NAME must name one with images of that size"
        )


def relabel(split: Split, own: Sequence[str] | None, model: str) -> Split:
    """Gives `split` the class ids and names of a model; unchanged if `own` is None.

    Raises:
        InvalidInput: the two have different classes.
    """
    places = None if own is None else match_classes(own, split.names, model)
    if places is None:
        return split
    labels = places[split.labels].astype(split.labels.dtype)
    return dataclasses.replace(split, labels=labels, names=tuple(own))


def describe_reordering(
    own: Sequence[str] | None, data: Sequence[str], model: str
) -> str | None:
    """A line for the user where the classes have another order, otherwise None."""
    if own is None or list(own) == list(data):
        return None
    return (
        f"{model} has the classes of the data set in another order: they are matched "
        "by name"
    )


def _short(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(map(shortened, names[:_SHOWN])) + more


def _product(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
