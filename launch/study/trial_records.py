"""Records of trials: what a study knows of each, and what its run directory says."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from launch.study.search_space import Values

ACCURACY, SECONDS, INT8_BYTES, LATENCY = "accuracy", "seconds", "int8_bytes", "latency"
DIRECTIONS = {
    ACCURACY: "maximize",
    SECONDS: "minimize",
    INT8_BYTES: "minimize",
    LATENCY: "minimize",
}
METRICS = "metrics.jsonl"
INT8_FILE = "export/model_int8.tflite"
BENCH_FILE = "export/bench.json"
_MAX_BYTES = 64 << 20


class TrialState(Enum):
    """State of a trial; the last three are final."""

    RUNNING = "running"  # perhaps between two stages
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class ValidationPoint:
    """One validation of a trial: `accuracy` after `step` steps."""

    step: int
    epoch: float
    accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """What is known of a trial.

    Attributes:
      number: of the trial, from 0; its run directory has this name.
      configuration: number of its configuration; trials of one differ in the seed.
      seed: of the trainer.
      flags: the values that the study chose.
      state: of the trial.
      stages: how many stages of the study it has finished.
      curve: all validations up to the end of the last stage, or to where it was pruned.
      images: number of validation rows, None before the first validation.
      values: objectives by name, once it is complete.
      seconds: training time, once it is complete.
      weights_sha256: of result.json, once it is complete.
      reason: why it was pruned or failed.
      run_dir: its directory on the machine that started it last.
    """

    number: int
    configuration: int
    seed: int
    flags: Values
    state: TrialState = TrialState.RUNNING
    stages: int = 0
    curve: tuple[ValidationPoint, ...] = ()
    images: int | None = None
    values: Mapping[str, float] | None = None
    seconds: float | None = None
    weights_sha256: str | None = None
    reason: str | None = None
    run_dir: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.state is not TrialState.RUNNING

    @property
    def accuracy(self) -> float | None:
        """Validation accuracy of the last weights, None before the first validation."""
        return self.curve[-1].accuracy if self.curve else None

    @property
    def best(self) -> float | None:
        """Best validation accuracy of any moment."""
        return max((point.accuracy for point in self.curve), default=None)

    def to_json(self) -> dict[str, Any]:
        """Describes all fields as plain values."""
        fields = dataclasses.asdict(self)
        points = [[p.step, p.epoch, p.accuracy] for p in self.curve]
        return {**fields, "state": self.state.value, "curve": points}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "TrialRecord":
        """Reads what `to_json` described."""
        points = tuple(ValidationPoint(*point) for point in fields["curve"])
        state = TrialState(fields["state"])
        return cls(**{**fields, "state": state, "curve": points})


def read_json(path: pathlib.Path) -> dict[str, Any] | None:
    """Reads a JSON object; None if the file is missing, damaged or not an object."""
    try:
        content = _read_bytes(path)
        found = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def find_version(run_dir: pathlib.Path) -> tuple[int, int] | None:
    """Size and time of metrics.jsonl, which tell whether it has changed."""
    try:
        status = os.stat(run_dir / METRICS)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def read_curve(
    run_dir: pathlib.Path,
) -> tuple[tuple[ValidationPoint, ...], int | None]:
    """Reads the validations of metrics.jsonl, and the number of validation rows.

    An incomplete last line is left out, as are damaged ones.
    """
    try:
        lines = _read_bytes(run_dir / METRICS).splitlines(keepends=True)
    except OSError:
        return (), None
    points: dict[int, ValidationPoint] = {}
    images = None
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            found = json.loads(line) if line.endswith(b"\n") else {}
            if found.get("split") == "validation":
                point = ValidationPoint(
                    int(found["step"]), float(found["epoch"]), float(found["accuracy"])
                )
                points[point.step] = point
                images = found.get("images", images)
    return tuple(points[step] for step in sorted(points)), images


def read_values(
    run_dir: pathlib.Path, objectives: Sequence[str], result: Mapping[str, Any]
) -> dict[str, float]:
    """Reads the objectives of a finished run.

    Raises:
      ValueError: one of them is missing; the message says which and where.
    """
    found: dict[str, float] = {}
    for name in objectives:
        if name == ACCURACY:
            found[name] = _number(result.get("validation_accuracy"), "result.json")
        elif name == SECONDS:
            found[name] = _number(result.get("train_seconds"), "result.json")
        elif name == INT8_BYTES:
            try:
                found[name] = float(os.path.getsize(run_dir / INT8_FILE))
            except OSError as error:
                raise ValueError(f"{INT8_FILE} is missing") from error
        else:
            found[name] = _read_latency(run_dir / BENCH_FILE)
    return found


def _read_latency(path: pathlib.Path) -> float:
    """Reads the median milliseconds of one image, one thread and the int8 file."""
    rows = (read_json(path) or {}).get("rows")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("format") == "int8":
            times = row.get("one_thread")
            found = times.get("p50_ms") if isinstance(times, dict) else None
            return _number(found, BENCH_FILE)
    raise ValueError(f"{BENCH_FILE} has no row int8")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where} has no number for the objective, got {value!r:.80}")
    return float(value)


def _read_bytes(path: pathlib.Path) -> bytes:
    with open(path, "rb", opener=_open_without_waiting) as file:
        return file.read(_MAX_BYTES)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def write_atomically(path: pathlib.Path, content: str) -> None:
    """Replaces the file at `path`: a reader sees the old content or the new one."""
    beside = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    descriptor = os.open(
        beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644
    )
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def format_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Formats rows as CSV (RFC 4180) under the names of all their columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
