"""A teacher: a finished run, named by its directory; no TensorFlow."""

import os
import pathlib
from typing import Any

import numpy as np
from absl import flags

from trainer.config.parsing import parse_path
from trainer.config.schema import Config, RunConfig, TeacherConfig, check_teacher
from trainer.errors import InvalidInput
from trainer.rundir import checkpoints
from trainer.rundir.layout import Run, resolved
from trainer.rundir.weights import eval_weights

WEIGHT, TEMPERATURE = TeacherConfig.weight, TeacherConfig.temperature


def from_flags(values: flags.FlagValues) -> TeacherConfig | None:
    """What the flags ask for.

    Raises:
        ValueError: a value is out of range, or there is no such teacher.
    """
    given = {
        "teacher_weight": (values.teacher_weight, WEIGHT),
        "teacher_temperature": (values.teacher_temperature, TEMPERATURE),
    }
    check_teacher(values.teacher_weight, values.teacher_temperature)
    if values.teacher is None:
        for name, (value, default) in given.items():
            if value != default:
                raise ValueError(f"--{name}={value} belongs to --teacher=RUN; add it")
        return None
    if not values.teacher:
        raise ValueError("--teacher='' must name the directory of a finished run")
    if values.teacher_weight == 0:
        raise ValueError(
            "--teacher_weight=0 leaves nothing to the teacher; leave --teacher out"
        )
    path = os.path.realpath(parse_path("teacher", values.teacher))
    if values.run_dir and path == os.path.realpath(
        parse_path("run_dir", values.run_dir)
    ):
        raise ValueError(f"--teacher={path} is also --run_dir; name another --run_dir")
    return TeacherConfig(
        weights_sha256=weights_sha256(path),
        weight=values.teacher_weight,
        temperature=values.teacher_temperature,
    )


def weights_sha256(path: str) -> str:
    """Of the finished run in `path`.

    Raises:
        InvalidInput: there is none.
    """
    run = Run(pathlib.Path(path))
    if not run.exists:
        raise InvalidInput(
            f"--teacher={path} is not a run; name the directory of a finished one"
        )
    result = run.result()
    if result is None:
        raise InvalidInput(
            f"--teacher={path} has not finished; finish it with python -m trainer.main "
            f"--flagfile={path}/flags.txt --run_dir={path}"
        )
    if not isinstance(found := result.get("weights_sha256"), str):
        raise InvalidInput(f"--teacher={path}: its result.json is not one of ours")
    return found


def check_data(run: Run, recorded: dict[str, Any]) -> None:
    """Checks that the teacher `run` was trained on the data that `recorded` describes.

    Raises:
        InvalidInput: it was trained on other data.
    """
    theirs = run.recorded().get("data")
    if not isinstance(theirs, dict):
        raise InvalidInput(f"--teacher={run.path}: its config.json is not one of ours")
    named = {
        "name": "data set",
        "labels": "classes",
        "image_shape": "image shape",
        "sha256": "data",
    }
    for field, noun in named.items():
        if theirs.get(field) != recorded[field]:
            raise InvalidInput(
                f"--teacher={run.path} has another {noun}: "
                f"{_short(theirs.get(field))} != {_short(recorded[field])};\n"
                "name a teacher that was trained on the data of this run"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 150 else f"{text[:150]}..."


def leakage_warning(theirs: Config, ours: Config) -> str | None:
    """One line if the teacher learnt from rows that `ours` holds out, or None.

    Held-out rows are nested: a smaller fraction holds out some of the same rows.
    """
    fraction, own = theirs.data.validation_fraction, ours.data.validation_fraction
    if fraction >= own:
        return None
    return (
        f"the teacher learnt from rows that are held out here (its "
        f"--validation_fraction is {fraction}, yours {own}): the validation accuracy "
        "is not independent of it"
    )


def check_teacher_run(
    run: Run, config: Config, run_config: RunConfig, data: dict[str, Any]
) -> None:
    """Raises InvalidInput unless the teacher can teach `run`, if that is yet to start.

    `data` is what `Dataset.recorded` says of the data of `run`.
    """
    if config.teacher is not None and not run.exists:
        found = find_teacher(config, run_config)
        check_data(found, data)
        load_weights(found, config.teacher.weights_sha256)
        try:
            found.config()
        except InvalidInput as error:
            raise InvalidInput(f"--teacher={found.path}: {error}") from error


def find_teacher(config: Config, run_config: RunConfig) -> Run:
    """The run that teaches; its weights are those that the config names."""
    if run_config.teacher is None:
        raise InvalidInput("where the teacher of this run lies is not recorded")
    path = resolved(pathlib.Path(run_config.teacher))
    if weights_sha256(str(path)) != config.teacher.weights_sha256:
        raise InvalidInput(f"--teacher={path} is not the teacher of this run")
    return Run(path)


def load_weights(run: Run, sha256: str) -> dict[str, np.ndarray]:
    """The evaluated weights of `run`, whose hash is `sha256`, by path."""
    expected = {"weights_sha256": sha256}
    kept = checkpoints.load_latest(
        run.checkpoints, skipped=lambda _: None, expected=expected
    )
    if kept is None:
        raise InvalidInput(
            f"--teacher={run.path} has no good checkpoint with the weights "
            f"{sha256[:12]} of its result.json; train it again"
        )
    return eval_weights(kept.arrays)
