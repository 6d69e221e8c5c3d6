"""Thresholds of a run or of an exported file, and the file of a run that keeps them.

A manifest has thresholds for three selective accuracies. A run keeps how many of its
validation rows each threshold would answer, and how many wrongly, from which the
threshold of any selective accuracy follows without the images.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eval.metrics import selective_thresholds
from eval.metrics.calibration import Calibration, apply_temperature
from eval.metrics.selective_thresholds import AnswerCounts, Threshold
from eval.metrics.validation_rows import ValidationAnswers, is_outdated
from eval.model_source import ModelSource
from eval.predictors.predictor import Predictor
from trainer import files
from trainer.config.enums import EvalTta
from trainer.config.serialization import misfit
from trainer.data.split import Split
from trainer.errors import InvalidInput
from trainer.rundir.layout import Run

FILE = "abstain.json"  # in the run directory
VERSION = 1
_ENTRY = {
    "threshold": float | None,
    "coverage_validation": float | None,
    "selective_accuracy_validation": float | None,
    "guarantee": str,
}


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """The thresholds that a model has.

    Attributes:
        rows: number of validation rows that they were chosen on.
        find: the threshold of a selective accuracy; raises InvalidInput for one that
            the model has none for.
    """

    rows: int
    find: Callable[[float], Threshold]


def from_counts(counts: AnswerCounts) -> Thresholds:
    """Thresholds of any selective accuracy."""
    return Thresholds(
        counts.rows, lambda target: selective_thresholds.find_threshold(counts, target)
    )


def from_manifest(source: ModelSource) -> Thresholds:
    """Thresholds that the manifest of a model file has.

    Raises:
        InvalidInput: it has none, or they are damaged.
    """
    found, rows = source.manifest.get("abstain"), source.manifest.get("abstain_rows")
    if not isinstance(found, dict) or not isinstance(rows, dict):
        raise InvalidInput(
            f"{source.name} has no thresholds for `abstain`: they are in the manifest"
            " of a file that this release exported;\nexport it again, or leave it out"
        )
    entries = {key: _parse_entry(source.name, key, one) for key, one in found.items()}

    def find(target: float) -> Threshold:
        own = entries.get(key := selective_thresholds.target_key(target))
        if own is None or float(key) != target:
            raise InvalidInput(
                f"abstain={target:g}: {source.name} has thresholds for"
                f" {', '.join(entries) or 'nothing'} only; a run takes any value"
            )
        return own

    count = rows.get("images")
    return Thresholds(count if isinstance(count, int) else 0, find)


def _parse_entry(name: str, key: str, entry: object) -> Threshold:
    wrong = "it is not an object"
    if isinstance(entry, dict):
        wrong = misfit(entry, _ENTRY)
    value = None if wrong else entry["threshold"]
    if value is not None and not 0 <= value < 1:
        wrong = f"its threshold is {value!r:.20}"
    try:
        target = float(key)
    except ValueError:
        wrong = wrong or "that is no number"
    if wrong:
        raise InvalidInput(
            f"the manifest of {name} is damaged: abstain, {key!r:.20}: {wrong};\nput"
            " its own manifest beside it"
        )
    return Threshold(target, *(entry[field] for field in _ENTRY))


def find_thresholds(
    source: ModelSource,
    predictor: Predictor,
    calibration: Calibration,
    answers: ValidationAnswers,
) -> Thresholds | str:
    """Thresholds of a run or file, or the reason why there are none, a clause.

    Those of a run are computed from its `answers` and saved if they are not there yet.
    """
    if predictor.tta is not EvalTta.NONE:
        return "thresholds belong to what ships, which uses no test-time augmentation"
    if source.run is None:
        try:
            return from_manifest(source)
        except InvalidInput:
            return "the file has no thresholds of its own in a manifest"
    if not source.final:
        return "this checkpoint is not the run's last"
    if counts := load_counts(source, calibration, answers.test):
        return from_counts(counts)
    if isinstance(answers.found, str):
        return answers.found
    return from_counts(
        _count_rows(source, calibration, answers, predictor.min_probability)
    )


def load_counts(
    source: ModelSource, calibration: Calibration, test: Split | None = None
) -> AnswerCounts | None:
    """The counts of a run at its temperature; None: not there, of others or damaged.

    Of others are those of rows that `test` was not compared with; None: it is closed.
    """
    try:
        saved = files.read_json(source.run.path / FILE)
        same = _identity(source, calibration)
        if any(saved[key] != value for key, value in same.items()):
            return None
        if is_outdated(saved, test):
            return None
        columns = [np.array(saved[k]) for k in ("thresholds", "answered", "wrong")]
        counts = AnswerCounts(saved["rows"], columns[0].astype(float), *columns[1:])
        return counts if _is_sound(counts) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _identity(source: ModelSource, calibration: Calibration) -> dict[str, Any]:
    return {
        "version": VERSION,
        "weights_sha256": source.facts["sha256"],
        "temperature": calibration.temperature,
    }


def _is_sound(counts: AnswerCounts) -> bool:
    table = selective_thresholds.candidate_thresholds(0.0)
    answered, wrong = counts.answered, counts.wrong
    whole = answered.dtype.kind == wrong.dtype.kind == "i"
    return (
        type(counts.rows) is int
        and np.array_equal(counts.thresholds, table)
        and answered.shape == wrong.shape == table.shape
        and whole
        and bool(((wrong >= 0) & (wrong <= answered) & (answered <= counts.rows)).all())
    )


def _count_rows(
    source: ModelSource,
    calibration: Calibration,
    answers: ValidationAnswers,
    min_probability: float,
) -> AnswerCounts:
    """Counts the answers to the validation rows, and writes abstain.json."""
    value = calibration.temperature or 1.0
    softened = apply_temperature(answers.probabilities, value, min_probability)
    counts = selective_thresholds.count_answers(softened, answers.labels, 0.0)
    _save(source.run, _identity(source, calibration) | answers.describe(), counts)
    return counts


def _save(run: Run, known: Mapping[str, Any], counts: AnswerCounts) -> None:
    content = {
        **known,
        "thresholds": counts.thresholds.tolist(),
        "answered": counts.answered.tolist(),
        "wrong": counts.wrong.tolist(),
    }
    try:
        run.write(FILE, content)
    except OSError as error:  # a run of another user: counted again next time
        print(f"{run.path / FILE} is not saved: {error.strerror}", file=sys.stderr)
