"""Arrays as a data set: images and labels that a script already holds."""

import hashlib
from collections.abc import Sequence

import numpy as np

from trainer.data import sampler
from trainer.data.dataset import Splits
from trainer.data.split import ARRAYS, Split, split_hashes
from trainer.errors import InvalidInput

TEST_FRACTION = 0.1
Pair = tuple[np.ndarray, np.ndarray]


def from_arrays(
    train: Pair,
    test: Pair | None = None,
    validation: Pair | None = None,
    names: Sequence[str] | None = None,
) -> Splits:
    """A data set of arrays.

    Without `test`, a tenth of each class of `train` is set apart by the hash of the
    pixels, the same for every seed; equal pictures stay on one side.

    Args:
        train: uint8 [N, H, W, C] images and integer [N] labels from 0 on.
        test: the same; None: a part of `train`.
        validation: the same; None: `Config.data.validation_fraction` of `train`.
        names: of the classes, by label; None: "0", "1" and so on.

    Raises:
        InvalidInput: an array has another dtype, shape or length, a label has no class,
            or a class has no picture to learn from.
    """
    pairs = {"train": train, "test": test, "validation": validation}
    given = {name: _checked(name, pair) for name, pair in pairs.items() if pair}
    classes = _class_names(given, names)
    shapes = {name: images.shape[1:] for name, (images, _) in given.items()}
    if len(set(shapes.values())) > 1:
        raise InvalidInput(f"images must have one shape, got {shapes}")
    if test is None:
        given |= _set_test_apart(*given["train"])
    images, labels = given["train"]
    held_out = None
    if validation is not None:
        held_out = np.arange(len(labels), len(labels) + len(given["validation"][1]))
        images = np.concatenate([images, given["validation"][0]])
        labels = np.concatenate([labels, given["validation"][1]])
    trained = _split("train", images, labels, classes)
    tested = _split("test", *given["test"], classes)
    return Splits(ARRAYS, ARRAYS, trained, tested, held_out)


def _checked(name: str, pair: Pair) -> Pair:
    try:
        images, labels = (np.asarray(array) for array in pair)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be (images, labels), two arrays") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise InvalidInput(
            f"{name} images must be uint8 [N, H, W, 1 or 3], got {images.dtype} "
            f"{list(images.shape)}; scale and cast them first"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise InvalidInput(
            f"{name} labels must be integers [{len(images)}], one per image, got "
            f"{labels.dtype} {list(labels.shape)}"
        )
    if len(images) == 0:
        raise InvalidInput(f"{name} is empty; give at least one image, or leave it out")
    return np.ascontiguousarray(images), labels.astype(np.int32)


def _class_names(
    given: dict[str, Pair], names: Sequence[str] | None
) -> tuple[str, ...]:
    highest = max(int(labels.max()) for _, labels in given.values())
    lowest = min(int(labels.min()) for _, labels in given.values())
    classes = tuple(map(str, range(highest + 1) if names is None else names))
    if len(set(classes)) != len(classes):
        raise InvalidInput("names must be different from each other")
    if lowest < 0 or highest >= len(classes):
        raise InvalidInput(
            f"labels must be within 0 to {len(classes) - 1}, as there are "
            f"{len(classes)} names; got {lowest} to {highest}"
        )
    return classes


def _set_test_apart(images: np.ndarray, labels: np.ndarray) -> dict[str, Pair]:
    hashes = [hashlib.sha256(image).digest() for image in images]
    apart = sampler.test_rows(hashes, labels, TEST_FRACTION)
    return {
        "train": (images[~apart], labels[~apart]),
        "test": (images[apart], labels[apart]),
    }


def _split(
    name: str, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]
) -> Split:
    ids = tuple(map(str, range(len(labels))))
    sha256, pixels_sha256 = split_hashes(ids, images, labels)
    return Split(images, labels, ids, classes, sha256, name, pixels_sha256)
