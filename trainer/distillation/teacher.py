"""Finds and checks the teacher, a finished run; it does not import TensorFlow."""

import os
import pathlib
from typing import Any

from trainer.config.options import require
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.errors import InvalidInput
from trainer.rundir import finished, metadata
from trainer.rundir.layout import Run, resolve_links

OPTION = "teacher"  # names the run in messages


def find_sha256(run_config: RunConfig, weight: float) -> str | None:
    """Finds `DistillationConfig.teacher_sha256`; None if there is no teacher.

    Args:
        run_config: the directories of the teacher and of the run.
        weight: weight of the teacher in the loss.

    Raises:
        InvalidInput: the teacher does not exist or cannot be used.
    """
    if run_config.teacher is None:
        return None
    require(
        weight != 0,
        f"teacher_weight={weight} gives the teacher no weight; leave `teacher` out",
    )
    path = os.path.realpath(run_config.teacher)
    require(
        not run_config.run_dir or path != os.path.realpath(run_config.run_dir),
        f"teacher={path} is also `run_dir`; name another one",
    )
    return finished.weights_sha256(path, OPTION)


def check_data(run: Run, recorded: dict[str, Any]) -> None:
    """Checks that the teacher `run` was trained on the data that `recorded` describes.

    Raises:
        InvalidInput: it was trained on other data.
    """
    theirs = run.recorded().get("data")
    if not isinstance(theirs, dict):
        raise InvalidInput(f"teacher={run.path}: its config.json is not one of ours")
    named = {
        "name": "data set",
        "labels": "classes",
        "image_shape": "image shape",
        "sha256": "data",
    }
    theirs, recorded = metadata.comparable(theirs, recorded)
    for field, noun in named.items():
        if theirs.get(field) != recorded[field]:
            raise InvalidInput(
                f"teacher={run.path} has another {noun}: "
                f"{_short(theirs.get(field))} != {_short(recorded[field])};\n"
                "name a teacher that was trained on the data of this run"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 150 else f"{text[:150]}..."


def leakage_warning(theirs: Config, ours: Config) -> str | None:
    """Warns if the teacher was trained on validation rows of `ours`; otherwise None.

    Validation rows are nested: a smaller fraction takes some of the same rows.
    """
    fraction, own = theirs.data.validation_fraction, ours.data.validation_fraction
    if fraction >= own:
        return None
    return (
        f"the teacher was trained on validation rows of this run (its "
        f"validation_fraction is {fraction}, yours {own}): the validation accuracy "
        "is not independent of it"
    )


def check_teacher_run(
    run: Run, config: Config, run_config: RunConfig, data: dict[str, Any]
) -> None:
    """Raises InvalidInput if `run` is new and cannot use the teacher of `config`.

    `data` is the description of the data of `run`, see `Dataset.recorded`.
    """
    if config.distillation.enabled and not run.exists:
        found = find_teacher(config, run_config)
        check_data(found, data)
        finished.load_weights(found, config.distillation.teacher_sha256, OPTION)
        try:
            found.config()
        except InvalidInput as error:
            raise InvalidInput(f"teacher={found.path}: {error}") from error


def find_teacher(config: Config, run_config: RunConfig) -> Run:
    """Finds the run of the teacher and checks the hash of its weights."""
    if run_config.teacher is None:
        raise InvalidInput("the directory of this run's teacher is not recorded")
    path = resolve_links(pathlib.Path(run_config.teacher))
    if finished.weights_sha256(str(path), OPTION) != config.distillation.teacher_sha256:
        raise InvalidInput(f"teacher={path} is not the teacher of this run")
    return Run(path)
