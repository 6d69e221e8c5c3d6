"""A teacher: a finished run, named by its directory; no TensorFlow."""

import os
import pathlib
from typing import Any

from absl import flags

from trainer.commandline import UsageError, place
from trainer.config import Config
from trainer.runs import Run
from trainer.teaching import TeacherConfig, check

WEIGHT, TEMPERATURE = TeacherConfig.weight, TeacherConfig.temperature


def asked(values: flags.FlagValues) -> TeacherConfig | None:
    """What the flags ask for.

    Raises:
        ValueError, UsageError: a value is out of range, or there is no such teacher.
    """
    given = {
        "teacher_weight": (values.teacher_weight, WEIGHT),
        "teacher_temperature": (values.teacher_temperature, TEMPERATURE),
    }
    check(values.teacher_weight, values.teacher_temperature)
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
    path = os.path.realpath(place("teacher", values.teacher))
    if values.run_dir and path == os.path.realpath(place("run_dir", values.run_dir)):
        raise ValueError(f"--teacher={path} is also --run_dir; name another --run_dir")
    return TeacherConfig(
        weights_sha256=weights_sha256(path),
        weight=values.teacher_weight,
        temperature=values.teacher_temperature,
    )


def weights_sha256(path: str) -> str:
    """Of the finished run in `path`.

    Raises:
        UsageError: there is none.
    """
    run = Run(pathlib.Path(path))
    if not run.exists:
        raise UsageError(
            f"--teacher={path} is not a run; name the directory of a finished one"
        )
    result = run.result()
    if result is None:
        raise UsageError(
            f"--teacher={path} has not finished; finish it with python -m trainer.main "
            f"--flagfile={path}/flags.txt --run_dir={path}"
        )
    if not isinstance(found := result.get("weights_sha256"), str):
        raise UsageError(f"--teacher={path}: its result.json is not one of ours")
    return found


def check_data(run: Run, recorded: dict[str, Any]) -> None:
    """Raises UsageError unless `run` learnt from the data that `recorded` describes."""
    theirs = run.recorded().get("data")
    if not isinstance(theirs, dict):
        raise UsageError(f"--teacher={run.path}: its config.json is not one of ours")
    named = {
        "name": "data set",
        "labels": "classes",
        "image_shape": "image shape",
        "sha256": "data",
    }
    for field, noun in named.items():
        if theirs.get(field) != recorded[field]:
            raise UsageError(
                f"--teacher={run.path} has another {noun}: "
                f"{_short(theirs.get(field))} != {_short(recorded[field])};\n"
                "name a teacher that was trained on the data of this run"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 150 else f"{text[:150]}..."


def note(theirs: Config, ours: Config) -> str | None:
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
