"""Selects training images that determine the ranges of a quantised network."""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from eval.metrics import leakage
from export.lite.tflite_options import CALIBRATION_IMAGES
from trainer.data import sampler
from trainer.data.split import Split
from trainer.errors import InvalidInput
from trainer.models.normalization import PIXEL_MEAN, PIXEL_STD

_KEY = 0xCA11B  # seed of the choice: the same for every seed of a run


@dataclasses.dataclass(frozen=True)
class CalibrationImages:
    """Images of the training rows, the same number for each class.

    Attributes:
        images: uint8 [n, H, W, C]; two pixels of the first one are set to 0 and 255, so
            that the range of the input is that of pixels.
        ids_sha256: SHA-256 of the ids of the images.
        train_sha256: SHA-256 of their split.
    """

    images: np.ndarray
    ids_sha256: str
    train_sha256: str

    @classmethod
    def select(
        cls,
        train: Split,
        test: Split | None,
        *,
        validation_fraction: float,
        held_out: np.ndarray | None = None,
        count: int = CALIBRATION_IMAGES,
    ) -> "CalibrationImages":
        """Selects at most `count` images outside the validation rows, stratified.

        Images that are equal to test images are left out.

        Args:
            train: the training split.
            test: the test split; None: it is closed, and not compared.
            validation_fraction: part of `train` that is used for validation.
            held_out: the validation rows instead; None: that fraction.
            count: number of images.

        Raises:
            InvalidInput: too many images of `train` are test images.
        """
        train_rows, _ = sampler.validation_split(
            train.labels, validation_fraction, held_out
        )
        in_test = leakage.find_test_images(train, test)
        leaked = leakage.describe_leak(in_test)
        train_rows = train_rows[~in_test[train_rows]]
        if leaked or not len(train_rows):
            raise InvalidInput(
                f"{leaked or 'no training image is left'}: ranges set by them would "
                "prove nothing;\nname a data set with `data_dir` whose test images "
                "were held out, or export a scheme that needs no calibration images"
            )
        rows = stratify(train.labels, train_rows, count)
        images = train.images[rows].copy()
        images[0].flat[:2] = (0, 255)
        ids = "\0".join(train.ids[row] for row in rows)
        return cls(images, hashlib.sha256(ids.encode()).hexdigest(), train.sha256)

    def normalised(self) -> Iterator[list[np.ndarray]]:
        """Yields each image as input of the network's body: [float32 [1, H, W, C]]."""
        for image in self.images:
            yield [(image[None].astype(np.float32) - PIXEL_MEAN) / PIXEL_STD]

    def facts(self) -> dict[str, Any]:
        """Collects the fields of a manifest that identify these images."""
        return {
            "split": "train",
            "images": len(self.images),
            "ids_sha256": self.ids_sha256,
            "train_sha256": self.train_sha256,
        }


def stratify(labels: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Selects at most `count` of `rows`, in rounds of one row per class, seeded.

    Args:
        labels: int32 [N], the labels of all rows.
    """
    generator = np.random.Generator(np.random.Philox(key=[_KEY, 0]))
    shuffled = generator.permutation(rows)
    row_labels = labels[shuffled]
    rounds = np.empty(len(rows), np.int64)
    for label in np.unique(row_labels):
        members = row_labels == label
        rounds[members] = np.arange(members.sum())
    return shuffled[np.lexsort((row_labels, rounds))][:count]
