"""Dataset: the training and test splits of a run."""

import dataclasses
from typing import Any

import numpy as np

from trainer.data import sampler
from trainer.data.split import Split
from trainer.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
        name: with its version, as TFDS writes it.
        learnt: int32 rows of `train` to train on.
        held_out: int32 rows of `train` for validation.
    """

    name: str
    train: Split
    test: Split
    learnt: np.ndarray
    held_out: np.ndarray

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.train.images.shape[1:]

    def recorded(self) -> dict[str, Any]:
        """The description that config.json keeps and a resume compares."""
        return {
            "name": self.name,
            "image_shape": list(self.image_shape),
            "labels": list(self.train.names),
            "sha256": {"train": self.train.sha256, "test": self.test.sha256},
        }


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits of a data set, before rows are held out for validation; a DataSource.

    Attributes:
        source: the name of a TFDS data set, or "arrays".
        name: the name with its version.
        train: the rows to learn from and to validate on.
        test: the rows that judge.
        held_out: int [N], rows of `train` that validate; None: a fraction of them.
    """

    source: str
    name: str
    train: Split
    test: Split
    held_out: np.ndarray | None = None

    @property
    def folder(self) -> None:
        """None: they are in memory."""

    def load(self, which: str) -> Split:
        """The split `which`, "train" or "test"."""
        return {"train": self.train, "test": self.test}[which]

    def hold_out(self, fraction: float) -> Dataset:
        """Chooses the rows that validate: `fraction` of each class, unless given.

        Raises:
            InvalidInput: there are too few classes or rows.
        """
        labels = self.train.labels
        learnt, held = sampler.validation_split(labels, fraction, self.held_out)
        if len(self.train.names) < 2 or len(learnt) == 0:
            raise InvalidInput(
                f"dataset={self.source} has {len(self.train.names)} classes and "
                f"{len(learnt)} rows to train on; 2 and 1 are needed"
            )
        return Dataset(self.name, self.train, self.test, learnt, held)
