"""Dataset: the training and test splits of a run, in memory."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from trainer.config.schema import Config, RunConfig
from trainer.data import preparation, sampler, tfds_source
from trainer.data.split import Split
from trainer.errors import InvalidInput
from trainer.monitoring import native_output


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


def load_dataset(
    config: Config, run_config: RunConfig, *, say: Callable[[str], None]
) -> Dataset:
    """Prepares the data set if it is not prepared yet, and decodes it.

    Raises:
        DataUnavailable: it is not prepared and cannot be.
        InvalidInput: it is not a data set for image classification.
    """
    builder = preparation.prepare(
        config.data.dataset,
        run_config.data_dir,
        say=say,
        write=not run_config.dry_run,
    )
    with native_output.suppress_native_stderr():
        train, test = (
            tfds_source.load_split(builder, "train"),
            tfds_source.load_split(builder, "test"),
        )
    learnt, held = sampler.validation_split(
        train.labels, config.data.validation_fraction
    )
    if len(train.names) < 2 or len(learnt) == 0:
        raise InvalidInput(
            f"dataset={config.data.dataset} has {len(train.names)} classes and "
            f"{len(learnt)} rows to train on; 2 and 1 are needed"
        )
    return Dataset(builder.info.full_name, train, test, learnt, held)
