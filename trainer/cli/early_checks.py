"""Checks of a training before TensorFlow is imported, so that they answer at once."""

import os

from trainer.config.enums import Strategy
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.data import catalogue
from trainer.data.sources import reachability
from trainer.data.split import IMAGE_DIR, IMAGE_LIST
from trainer.data.store.request import FilesRequest
from trainer.distributed import shares
from trainer.errors import InvalidInput
from trainer.training.timetable import build_timetable

ROUNDING = 0.02  # by which classes round their validation rows, more than they do


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


def check_available(config: Config, run_config: RunConfig) -> None:
    """Checks that the data set of a training is prepared, or that its server answers.

    Raises:
        InvalidInput: it is not known, or may not be prepared.
        DataUnavailable: its server cannot be reached.
    """
    if config.data.dataset not in (IMAGE_DIR, IMAGE_LIST):
        write = not run_config.dry_run
        check_dataset(config.data.dataset, run_config.data_dir, write=write)


def check_dataset(name: str, data_dir: str | None, *, write: bool) -> None:
    """Checks that the TFDS data set `name` is prepared or can be downloaded.

    Args:
        name: of the data set.
        data_dir: where it is; None: TFDS's own folder.
        write: whether it may be prepared if it is not.

    Raises:
        InvalidInput: it is not known, or may not be prepared.
        DataUnavailable: its server cannot be reached.
    """
    catalogue.check_name(name, data_dir)
    if name in catalogue.OWN or catalogue.is_prepared(name, data_dir):
        return  # those of this toolkit need no download
    folder = catalogue.folder(data_dir)
    if not write:
        raise catalogue.unprepared(name, folder, folder)
    if (url := catalogue.find_url(name)) is not None:
        reachability.check_reachable(url, name, folder)


def _check_steps(config: Config, run_config: RunConfig, total: int) -> None:
    """Refuses what is wrong for any number of rows near that of the training.

    The number itself follows from the labels, which are not read yet.
    """
    rows = total * (1 - config.data.validation_fraction)
    found = [
        _find_problem(config, run_config, max(1, round(rows * part)))
        for part in (1, 1 - ROUNDING, 1 + ROUNDING)
    ]
    if all(found):
        raise InvalidInput(found[0])


def _find_problem(config: Config, run_config: RunConfig, rows: int) -> str | None:
    try:
        build_timetable(config, run_config, rows)
    except ValueError as error:
        return str(error)
    return None


def _check_batch(config: Config, total: int) -> None:
    if config.global_batch > total:
        raise InvalidInput(
            f"global_batch={config.global_batch}: a batch of {config.global_batch:,} "
            f"is more than the {total:,} images of {config.data.dataset} to train and "
            "validate on; lower `global_batch`"
        )
