"""Loads the data set that the options of a run name."""

from collections.abc import Callable

from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.data.dataset import Dataset, Splits
from trainer.data.sources import tfds_preparation, tfds_source
from trainer.data.split import DataSource


def load_dataset(
    config: Config, run_config: RunConfig, *, say: Callable[[str], None]
) -> Dataset:
    """Prepares the data set if it is not prepared yet, decodes it, holds rows out.

    Raises:
        DataUnavailable: it is not prepared and cannot be.
        InvalidInput: it is not a data set for image classification.
    """
    write = not run_config.dry_run
    splits = from_tfds(config.data.dataset, run_config.data_dir, say=say, write=write)
    return splits.hold_out(config.data.validation_fraction)


def open_source(
    name: str,
    data_dir: str | None = None,
    *,
    say: Callable[[str], object] = print,
    write: bool = True,
) -> DataSource:
    """Opens the TFDS data set `name`, prepared if it is not; decodes nothing yet.

    Args:
        name: of an image-classification data set, e.g. "cifar10".
        data_dir: where TFDS data sets are; None: TFDS's own folder.
        say: shows a message.
        write: whether the data set may be prepared if it is not.

    Raises:
        InvalidInput: there is no such data set.
        DataUnavailable: it is not prepared and cannot be.
    """
    builder = tfds_preparation.prepare(name, data_dir, say=say, write=write)
    return tfds_source.TfdsSource(builder)


def from_tfds(
    name: str,
    data_dir: str | None = None,
    *,
    say: Callable[[str], None] = print,
    write: bool = True,
) -> Splits:
    """The train and test splits of the TFDS data set `name`, decoded into memory.

    The arguments are those of `open_source`.

    Raises:
        InvalidInput: it cannot be had.
    """
    source = open_source(name, data_dir, say=say, write=write)
    return Splits(name, source.name, source.load("train"), source.load("test"))
