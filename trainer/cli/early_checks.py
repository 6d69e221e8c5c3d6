"""Checks of a training before TensorFlow is imported, so that they answer at once."""

import os

from trainer.config.enums import Strategy
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.data import catalogue
from trainer.data.split import IMAGE_DIR, IMAGE_LIST
from trainer.data.store.request import FilesRequest
from trainer.distributed import shares
from trainer.errors import InvalidInput
from trainer.training.timetable import build_timetable


def check_training(config: Config, run_config: RunConfig, *, new: bool) -> None:
    """Checks the data that a training names, and its steps where sizes are known.

    A run that is not `new` may have a batch that was allowed when it was started.

    Raises:
        InvalidInput: there is no such data set, folder or table, or the batch, the
            warm-up or the devices do not fit.
    """
    name = config.data.dataset
    if run_config.strategy is Strategy.MIRRORED and run_config.logical_devices:
        shares.check_shares(config, run_config.logical_devices)
    if name in (IMAGE_DIR, IMAGE_LIST):
        request = FilesRequest.from_configs(config, run_config)
        if not os.path.exists(request.path):
            request.list_files()  # raises, and says what is missing
        return
    catalogue.check_name(name, run_config.data_dir)
    known = catalogue.count_examples(name, run_config.data_dir) or {}
    if (total := known.get("train", 0)) > 0:
        if new:
            _check_batch(config, total)
        _check_steps(config, run_config, total)


def _check_steps(config: Config, run_config: RunConfig, total: int) -> None:
    """Checks the steps of about as many rows as are trained on."""
    rows = max(1, total - round(config.data.validation_fraction * total))
    try:
        build_timetable(config, run_config, rows)
    except ValueError as error:
        raise InvalidInput(str(error)) from error


def _check_batch(config: Config, total: int) -> None:
    if config.global_batch > total:
        raise InvalidInput(
            f"global_batch={config.global_batch}: a batch of {config.global_batch:,} "
            f"is more than the {total:,} images of {config.data.dataset} to train and "
            "validate on; lower `global_batch`"
        )
