"""Data: what a run learns from and is judged by, in memory."""

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
    """The data set, and which of its training rows are learnt from."""

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
        """What config.json keeps of it and a resume compares."""
        return {
            "name": self.name,
            "image_shape": list(self.image_shape),
            "labels": list(self.train.names),
            "sha256": {"train": self.train.sha256, "test": self.test.sha256},
        }


def load_dataset(
    config: Config, run_config: RunConfig, *, say: Callable[[str], None]
) -> Dataset:
    """Prepares the data set if need be and decodes it.

    Raises:
        InvalidInput: it cannot be had, or is not fit for classification.
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
            f"--dataset={config.data.dataset} has {len(train.names)} classes and "
            f"{len(learnt)} rows to train on; 2 and 1 are needed"
        )
    return Dataset(builder.info.full_name, train, test, learnt, held)
