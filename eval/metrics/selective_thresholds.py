"""Thresholds for "I don't know": below them a model's answer is not given.

An answer is given if the largest probability reaches a threshold (selective
prediction, Geifman & El-Yaniv 2017, arXiv:1705.08500). The threshold is chosen on
validation rows so that the accuracy of the answers that are given, the selective
accuracy, is guaranteed for new images of the same distribution: Learn then Test
(Angelopoulos, Bates, Candès, Jordan & Lei 2021, arXiv:2110.01052, Algorithm 1), with
exact binomial p-values.

Thresholds come from a fixed table, so that neither the rows nor their labels choose
what is tested. "The selective accuracy at t is below the target" is tested at some
fixed thresholds, each at an equal share of the error level, and from each that is
rejected to the next lower one, until one is not rejected. With probability CONFIDENCE
over the draw of the rows no true hypothesis is rejected; the least threshold that is
rejected is taken.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from eval.metrics import classification

TARGETS = (0.90, 0.95, 0.99)  # selective accuracies that have a threshold in a manifest
CONFIDENCE = 0.95
_OCTAVES, _PER_OCTAVE = 14, 16  # 1 - t halves with each octave of the table
# A sequence of tests begins at 1 - (1 - target) * factor: for networks that are too
# unsure of themselves, calibrated, and too sure.
_STARTS = (2, 1 / 2, 1 / 8, 1 / 64)
_GRID = 2.0**-15  # of float outputs: exact in float32, and the step of 16-bit outputs


@dataclasses.dataclass(frozen=True)
class AnswerCounts:
    """How many validation rows are answered at each threshold, and how many wrongly.

    Attributes:
        rows: number of validation rows.
        thresholds: float64 [T], ascending; the first is 0, where all are answered.
        answered, wrong: int64 [T].
    """

    rows: int
    thresholds: np.ndarray
    answered: np.ndarray
    wrong: np.ndarray


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The threshold of a selective accuracy, or the reason why there is none.

    Attributes:
        target: the selective accuracy.
        value: answers of a largest probability of `value` or more are given; None:
            there is no such threshold.
        coverage: share of the validation rows that are answered; None: as `value`.
        selective_accuracy: accuracy of these; None: as `value`.
        guarantee: what holds for new images, or why nothing does, in one sentence.
    """

    target: float
    value: float | None
    coverage: float | None
    selective_accuracy: float | None
    guarantee: str


def candidate_thresholds(step: float) -> np.ndarray:
    """The table of thresholds, ascending from 0: 1 - 2^(-k/16), on a grid.

    Args:
        step: smallest difference between two outputs of a quantised model, of which
            thresholds are multiples; 0 for a float output.
    """
    grid = step or _GRID
    powers = 1 - 2.0 ** (-np.arange(_OCTAVES * _PER_OCTAVE + 1) / _PER_OCTAVE)
    numbers = np.unique(_steps_up(powers, grid))
    return numbers[numbers * grid < 1] * grid


def _steps_up(values: np.ndarray, grid: float) -> np.ndarray:
    """The number of steps of `grid` that reach `values`: float64, whole numbers."""
    return np.ceil(values / grid - 1e-6) + 0.0  # not -0, which would be printed


def count_answers(
    probabilities: np.ndarray, labels: np.ndarray, step: float
) -> AnswerCounts:
    """Counts the rows, of [N, C] and [N], that are answered at each threshold."""
    classification.validate(probabilities, labels)
    thresholds = candidate_thresholds(step)
    confidence = probabilities.max(axis=1)
    wrong = ~classification.correct(probabilities, labels)
    return AnswerCounts(
        rows=len(labels),
        thresholds=thresholds,
        answered=_count_from(thresholds, confidence),
        wrong=_count_from(thresholds, confidence[wrong]),
    )


def _count_from(thresholds: np.ndarray, values: np.ndarray) -> np.ndarray:
    return len(values) - np.searchsorted(np.sort(values), thresholds, side="left")


def find_threshold(counts: AnswerCounts, target: float) -> Threshold:
    """Finds the least threshold whose selective accuracy is at least `target`.

    Raises:
        ValueError: `target` is not within 0 to 1.
    """
    if not 0 < target < 1:
        raise ValueError(f"{target} is not a selective accuracy within 0 to 1")
    starts = _start_positions(counts.thresholds, target)
    level = (1 - CONFIDENCE) / len(starts)
    p_values = special.bdtr(counts.wrong, counts.answered, 1 - target)
    rejected = (p_values <= level) & (counts.answered > 0)
    reached = [
        low for at in starts if (low := _last_rejected(rejected, at)) is not None
    ]
    if not reached:
        reason = _describe_failure(counts.rows, target, level)
        return Threshold(target, None, None, None, reason)
    best = min(reached)
    answered, wrong = int(counts.answered[best]), int(counts.wrong[best])
    return Threshold(
        target=target,
        value=float(counts.thresholds[best]),
        coverage=answered / counts.rows,
        selective_accuracy=1 - wrong / answered,
        guarantee=_describe_guarantee(counts.rows, target),
    )


def _start_positions(thresholds: np.ndarray, target: float) -> list[int]:
    """Positions in the table at which a sequence of tests begins."""
    wanted = [1 - (1 - target) * factor for factor in _STARTS]
    found = np.searchsorted(thresholds, wanted)
    return np.unique(found.clip(max=len(thresholds) - 1)).tolist()


def _last_rejected(rejected: np.ndarray, start: int) -> int | None:
    """The lowest position that is reached from `start` over rejected ones alone."""
    if not rejected[start]:
        return None
    kept = np.flatnonzero(~rejected[:start])
    return int(kept[-1]) + 1 if len(kept) else 0


def _describe_guarantee(rows: int, target: float) -> str:
    return (
        f"With {CONFIDENCE:.0%} confidence over the draw of the {rows:,} validation"
        f" rows, at least {target:.4g} of the answers given to new images drawn"
        " independently from the same distribution are right; nothing is said of single"
        " classes or of other images."
    )


def _describe_failure(rows: int, target: float, level: float) -> str:
    found = (
        f"None: on the {rows:,} validation rows no threshold shows with"
        f" {CONFIDENCE:.0%} confidence that {target:.4g} of the answers are right"
    )
    needed = math.ceil(math.log(level) / math.log(target))
    if rows >= needed:
        return f"{found}."
    return f"{found}; {needed:,} rows are needed for that, all of them right."


def no_threshold(target: float, why: str) -> Threshold:
    """A Threshold that does not exist; `why` is a clause that ends without a point."""
    return Threshold(target, None, None, None, f"None: {why}.")


def quantize(value: float | None, step: float, zero_point: int | None) -> int | None:
    """The threshold as an integer of the output; None: the output is a float."""
    if value is None or zero_point is None:
        return None
    return round(value / step) + zero_point


def measure(
    probabilities: np.ndarray, labels: np.ndarray, threshold: Threshold
) -> dict[str, Any] | None:
    """Measures coverage and selective accuracy of other rows; None: no threshold."""
    if threshold.value is None:
        return None
    given = probabilities.max(axis=1) >= threshold.value
    right = int((classification.correct(probabilities, labels) & given).sum())
    answered = int(given.sum())
    return {
        "images": len(labels),
        "answered": answered,
        "coverage": answered / len(labels),
        "coverage_interval": classification.interval(answered, len(labels)),
        "selective_accuracy": right / answered if answered else None,
        "selective_accuracy_interval": classification.interval(right, answered),
    }


def target_key(target: float) -> str:
    """The name of a target in a manifest: "0.95"."""
    return f"{target:.2f}"


def to_json(
    threshold: Threshold, quantized: int | None, test: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The entry of a manifest, see docs/export.md."""
    return {
        "threshold": threshold.value,
        "quantized": quantized,
        "coverage_validation": threshold.coverage,
        "selective_accuracy_validation": threshold.selective_accuracy,
        "guarantee": threshold.guarantee,
        "test": None if test is None else dict(test),
    }
