"""A study on the disk: its definition, trials, curves and test openings.

It reads studies that are not finished, too, and groups of runs that no study made.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from trainer import files
from trainer.config.serialization import misfit
from trainer.errors import InvalidInput
from trainer.rundir import test_openings

DEFINITION, TABLE, RUNS = test_openings.STUDY, "trials.json", "trials"
_TRIAL = {"number": int, "state": str, "flags": dict}
_NO_POINT = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
COMPLETE, PRUNED, FAILED, RUNNING = "complete", "pruned", "failed", "running"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a study.

    Attributes:
        fields: its row of trials.json; docs/report_schema.md describes each.
        run_dir: where the run is, if it is on this machine.
    """

    fields: Mapping[str, Any]
    run_dir: pathlib.Path

    @property
    def number(self) -> int:
        """Its number in the study, from 0."""
        return self.fields["number"]

    @property
    def configuration(self) -> int:
        """The number of its flags; the trials of several seeds share one."""
        return self.fields.get("configuration", self.number)

    @property
    def state(self) -> str:
        """COMPLETE, PRUNED, FAILED or RUNNING."""
        return self.fields["state"]

    @property
    def flags(self) -> Mapping[str, Any]:
        """The flags that differ between the trials."""
        return self.fields["flags"]

    @property
    def accuracy(self) -> float | None:
        """Validation accuracy of its last weights."""
        return _number(self.fields.get("validation_accuracy"))

    @property
    def images(self) -> int | None:
        """Number of validation rows."""
        found = self.fields.get("validation_images")
        return found if isinstance(found, int) and found > 0 else None

    @property
    def values(self) -> Mapping[str, float]:
        """Its objectives by name; {} unless it is complete."""
        found = self.fields.get("values")
        return found if isinstance(found, dict) else {}

    @functools.cached_property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """(epoch, accuracy) of each validation, from its metrics.jsonl."""
        return tuple(_validations(self.run_dir / "metrics.jsonl"))


@dataclasses.dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        path: its directory.
        definition: the content of study.json.
        table: the content of trials.json; {} before the first trial has ended.
        trials: by number.
        openings: who evaluated the test split.
    """

    path: pathlib.Path
    definition: Mapping[str, Any]
    table: Mapping[str, Any]
    trials: tuple[Trial, ...]
    openings: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.definition.get("name") or self.path.name)

    @property
    def objectives(self) -> list[Mapping[str, str]]:
        """Objects with "name" and "direction" ("maximize" or "minimize")."""
        found = self.definition.get("objectives") or self.table.get("objectives") or []
        told = [one for one in found if isinstance(one, dict) and "name" in one]
        return told or [{"name": "accuracy", "direction": "maximize"}]

    def complete(self) -> list[Trial]:
        """The trials that have ended with a validation accuracy."""
        ended = [trial for trial in self.trials if trial.state == COMPLETE]
        return [trial for trial in ended if trial.accuracy is not None]

    def configurations(self) -> dict[int, list[Trial]]:
        """The complete trials of each configuration, those of several seeds."""
        found: dict[int, list[Trial]] = {}
        for trial in self.complete():
            found.setdefault(trial.configuration, []).append(trial)
        return found


def is_study(path: pathlib.Path) -> bool:
    """Whether `path` is the directory of a study."""
    return (path / DEFINITION).is_file()


def load_study(path: pathlib.Path) -> Study:
    """Loads the study in `path`, finished or not.

    Raises:
        InvalidInput: there is none, or a file of it is damaged.
    """
    if not is_study(path):
        raise InvalidInput(
            f"{path} holds no {DEFINITION}, so it is no study;\nname the directory "
            "that launch.sweep wrote"
        )
    definition, table = _load(path / DEFINITION), {}
    if (path / TABLE).is_file():
        table = _load(path / TABLE)
    rows = table.get("trials", [])
    if not isinstance(rows, list):
        raise _damaged(path / TABLE, "its trials are no list")
    known = {}
    for row in rows:
        if wrong := misfit(row, _TRIAL):
            raise _damaged(path / TABLE, wrong)
        known[row["number"]] = Trial(row, _locate(path, row))
    begun = {trial.number: trial for trial in _begun_trials(path)}
    trials = tuple(trial for _, trial in sorted({**begun, **known}.items()))
    openings = tuple(test_openings.load(path))
    return Study(path, definition, table, trials, openings)


def _load(path: pathlib.Path) -> dict[str, Any]:
    try:
        found = files.read_json(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(found, dict):
        raise _damaged(path, "it holds no object")
    return found


def _damaged(path: pathlib.Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"{path} cannot be read: {why};\nrun the same launch.sweep again, which writes "
        "it anew"
    )


def _locate(path: pathlib.Path, row: Mapping[str, Any]) -> pathlib.Path:
    """The run of a trial; a relative path is inside the study."""
    told = row.get("run_dir")
    if isinstance(told, str) and (path / told).is_dir():
        return path / told
    return path / RUNS / str(row["number"])


def _begun_trials(path: pathlib.Path) -> Iterator[Trial]:
    """Trials that have begun, and are perhaps not in trials.json yet."""
    folder = path / RUNS
    if not folder.is_dir():
        return
    for run in folder.iterdir():
        if run.name.isdecimal() and (run / "config.json").is_file():
            fields = {"number": int(run.name), "state": RUNNING, "flags": {}}
            yield Trial(fields, run)


def _validations(path: pathlib.Path) -> Iterator[tuple[float, float]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
            if entry["split"] == "validation":
                yield float(entry["epoch"]), float(entry["accuracy"])
        except _NO_POINT:
            continue  # the line is damaged or being written


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
