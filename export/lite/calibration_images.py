"""Which training images set the ranges of a quantised network: never a test image."""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from eval import leakage
from trainer.data import sampler
from trainer.errors import UsageError

if TYPE_CHECKING:
    from trainer.data.split import Split

IMAGES = 500
_KEY = 0xCA11B  # of the choice: the same for every seed of a run


@dataclasses.dataclass(frozen=True)
class CalibrationImages:
    """Images of the rows learnt from, the same number of every class.

    Attributes:
        images: uint8 [n, H, W, C]; in the first one two pixels are 0 and 255, so that
            the input's range is all of a pixel's and its quantisation the pixel itself.
        ids_sha256: over the ids of the images.
        train_sha256: of the split they are from.
    """

    images: np.ndarray
    ids_sha256: str
    train_sha256: str

    @classmethod
    def of(
        cls,
        train: "Split",
        test: "Split",
        *,
        validation_fraction: float,
        count: int = IMAGES,
    ) -> "CalibrationImages":
        """At most `count` images of `train` outside its validation rows, stratified.

        Raises:
            UsageError: `train` holds images of `test`; a few that happen to be equal
                are left out.
        """
        learnt, _ = sampler.validation_split(train.labels, validation_fraction)
        seen = leakage.test_images(train, test)
        leaked = leakage.found(seen)
        learnt = learnt[~seen[learnt]]
        if leaked or not len(learnt):
            raise UsageError(
                f"{leaked or 'no training image is left'}: ranges set by them would "
                "prove nothing;\nname a data set with --data_dir whose test images "
                "were held out, or export a scheme that needs no calibration images"
            )
        rows = stratified(train.labels, learnt, count)
        images = train.images[rows].copy()
        images[0].flat[:2] = (0, 255)
        ids = "\0".join(train.ids[row] for row in rows)
        return cls(images, hashlib.sha256(ids.encode()).hexdigest(), train.sha256)

    def normalised(self) -> Iterator[list[np.ndarray]]:
        """Each image as the body of the network takes it: [float32 [1, H, W, C]]."""
        for image in self.images:
            yield [(image[None].astype(np.float32) - 128) / 128]

    def facts(self) -> dict[str, Any]:
        """What a manifest says of them."""
        return {
            "split": "train",
            "images": len(self.images),
            "ids_sha256": self.ids_sha256,
            "train_sha256": self.train_sha256,
        }


def stratified(labels: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of `rows` int32, round after round one of each class, seeded."""
    generator = np.random.Generator(np.random.Philox(key=[_KEY, 0]))
    shuffled = generator.permutation(rows)
    own = labels[shuffled]
    turn = np.empty(len(rows), np.int64)
    for label in np.unique(own):
        members = own == label
        turn[members] = np.arange(members.sum())
    return shuffled[np.lexsort((own, turn))][:count]
