"""Dataset: the training split of a run, and its test split where it is tested."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.config.enums import Resize
from trainer.config.schema import DataConfig
from trainer.config.serialization import to_plain
from trainer.data import sampler
from trainer.data.preprocessing import PixelSpec
from trainer.data.split import Split
from trainer.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
        name: with its version, as TFDS writes it.
        test: None: the run is not tested, and the split was not read.
        learnt: int32 rows of `train` to train on.
        held_out: int32 rows of `train` for validation.
        preprocessing: how image files become such pixels; None: they need not be
            resized.
        skipped: name and reason of each file that was left out.
    """

    name: str
    train: Split
    test: Split | None
    learnt: np.ndarray
    held_out: np.ndarray
    preprocessing: PixelSpec | None = None
    skipped: Sequence[tuple[str, str]] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.train.images.shape[1:]

    def recorded(self) -> dict[str, Any]:
        """The description that config.json keeps and a resume compares."""
        splits = {"train": self.train}
        if self.test is not None:
            splits["test"] = self.test
        spec = self.preprocessing or PixelSpec(*self.image_shape)
        found = {
            "name": self.name,
            "image_shape": list(self.image_shape),
            "labels": list(self.train.names),
            "sha256": {name: split.sha256 for name, split in splits.items()},
            "pixels_sha256": {n: split.pixels_sha256 for n, split in splits.items()},
            "preprocessing": spec.to_json(),
        }
        if self.skipped:
            listed = json.dumps([list(pair) for pair in self.skipped]).encode()
            found["skipped"] = {
                "files": len(self.skipped),
                "sha256": hashlib.sha256(listed).hexdigest(),
            }
        return found


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits of a data set, before rows are held out for validation; a DataSource.

    Attributes:
        source: the name of a TFDS data set, or "arrays".
        name: the name with its version.
        train: the rows to learn from and to validate on.
        test: the rows that judge; None: not read.
        held_out: int [N], rows of `train` that validate; None: a fraction of them.
        preprocessing, skipped: as of a Dataset.
        test_fraction: what part of each class was set apart; None: the default, or
            test images of their own.
    """

    source: str
    name: str
    train: Split
    test: Split | None
    held_out: np.ndarray | None = None
    preprocessing: PixelSpec | None = None
    skipped: Sequence[tuple[str, str]] = ()
    test_fraction: float | None = None

    @property
    def folder(self) -> None:
        """None: they are in memory."""

    def load(self, which: str) -> Split:
        """The split `which`, "train" or "test".

        Raises:
            InvalidInput: the test split was not read.
        """
        found = {"train": self.train, "test": self.test}[which]
        if found is None:
            raise InvalidInput(
                f"the test split of {self.name} was not read; load the data set with it"
            )
        return found

    def without_test(self) -> "Splits":
        """The same rows to train and validate on, for a run that is not tested."""
        return dataclasses.replace(self, test=None)

    def check_options(self, asked: DataConfig) -> None:
        """Checks that `asked` names no other pixels or test images than these.

        Raises:
            InvalidInput: it does; they are decoded and split already.
        """
        shape = self.train.images.shape[1:]
        how = self.preprocessing.resize if self.preprocessing else Resize.CROP
        fraction = self.test_fraction or DataConfig.test_fraction
        held = {
            "image_size": (asked.image_size, (shape[:2], None)),
            "channels": (asked.channels, (shape[2], None)),
            "resize": (asked.resize, (how, Resize.CROP)),
            "test_fraction": (asked.test_fraction, (fraction,)),
        }
        for name, (value, possible) in held.items():
            if value not in possible:
                value, own = (to_plain(each) for each in (value, possible[0]))
                raise InvalidInput(
                    f"`data` has {name}={own} and the config asks for {name}={value};\n"
                    "pixels and splits of data that a script gives are not changed: "
                    f"change `{name}` where `data` is made"
                )

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
        return Dataset(
            name=self.name,
            train=self.train,
            test=self.test,
            learnt=learnt,
            held_out=held,
            preprocessing=self.preprocessing,
            skipped=self.skipped,
        )
