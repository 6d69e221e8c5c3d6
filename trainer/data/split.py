"""Split: images, labels and ids in memory, their hash; DataSource: what loads them."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from trainer.errors import InvalidInput

WITH_TEST, WITHOUT_TEST = ("train", "test"), ("train",)  # splits that a run reads
# What a config names as the data set where that is no TFDS one.
ARRAYS = "arrays"  # of a script
IMAGE_DIR, IMAGE_LIST = "image_dir", "image_list"  # image files, by folder or by table


@dataclasses.dataclass(frozen=True)
class Split:
    """Every example of a split, in the order of the prepared files.

    Attributes:
        images: uint8 [N, H, W, C].
        labels: int32 [N].
        ids: the data set's own "id", otherwise TFDS's (file and position).
        names: class names, by label.
        sha256: over ids, pixels and labels in order.
        split: its name in the data set.
        pixels_sha256: over pixels and labels in order, without ids; "": not computed.
        held_out: whether these are rows that a training held out, and no split of the
            data set.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    names: tuple[str, ...]
    sha256: str
    split: str = ""
    pixels_sha256: str = ""
    held_out: bool = False

    def digest(self) -> str:
        """Computes `sha256` again, for labels that were given other ids."""
        return split_hashes(self.ids, self.images, self.labels)[0]

    @functools.cached_property
    def image_digests(self) -> tuple[bytes, ...]:
        """A hash of each image's pixels, computed once, as it reads every image.

        Splits are compared by them: the pixels of two may not fit in memory.
        """
        return tuple(
            hashlib.blake2b(image.tobytes(), digest_size=16).digest()
            for image in self.images
        )


@dataclasses.dataclass(frozen=True)
class ImageRows:
    """Some rows of images; what is asked for is copied, never all of them.

    Attributes:
        images: uint8 [N, H, W, C], in memory or mapped from a file.
        rows: int [n].
    """

    images: np.ndarray
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the rows as an array: n, H, W, C."""
        return (len(self.rows), *self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.images[self.rows[part]]


@runtime_checkable
class DataSource(Protocol):
    """A data set whose splits are loaded when they are asked for.

    Attributes:
        name: with its version, as a run records it.
        folder: where its files are; None: it has none.
        held_out: int [N], rows of "train" that validate; None: a fraction of them.
    """

    name: str
    folder: str | None
    held_out: np.ndarray | None

    def load(self, which: str) -> Split:
        """Loads the split `which`, "train" or "test".

        Raises:
            InvalidInput: it cannot be used.
            PeerLost: the storage cannot be read for now.
        """


def check_source(data: object) -> None:
    """Checks that `data`, which a script gave, is a DataSource or None.

    Raises:
        InvalidInput: it is something else, such as a pair of arrays.
    """
    if data is not None and not isinstance(data, DataSource):
        raise InvalidInput(
            "`data` must be from trainer.data.from_arrays or from_tfds, got "
            f"{type(data).__name__}"
        )


class SplitHashes:
    """Hashes of a split whose images come in parts: `sha256` and `pixels_sha256`.

    The first is over ids, shape, pixels and labels in order, the second without ids.
    """

    def __init__(self, ids: Sequence[str], shape: tuple[int, ...]) -> None:
        self._whole = hashlib.sha256("\0".join(ids).encode())
        self._pixels = hashlib.sha256()
        self._update(str(tuple(shape)).encode())

    def update(self, images: np.ndarray) -> None:
        """Adds the next images, uint8 [n, H, W, C]."""
        self._update(images)

    def finish(self, labels: np.ndarray) -> tuple[str, str]:
        """Adds the labels; returns both hashes, hexadecimal."""
        self._update(labels.astype("<i4"))
        return self._whole.hexdigest(), self._pixels.hexdigest()

    def _update(self, content: bytes | np.ndarray) -> None:
        self._whole.update(content)
        self._pixels.update(content)


def split_hashes(
    ids: Sequence[str], images: np.ndarray, labels: np.ndarray
) -> tuple[str, str]:
    """The `sha256` and the `pixels_sha256` of a split."""
    hashes = SplitHashes(ids, images.shape)
    hashes.update(images)
    return hashes.finish(labels)
