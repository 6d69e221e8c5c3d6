"""Chooses the thresholds of an exported file by its own answers to validation rows."""

from typing import Any

import numpy as np

from eval.metrics import selective_thresholds
from eval.metrics.selective_thresholds import CONFIDENCE, TARGETS, Threshold
from eval.predictors.predictor import Predictor
from export.artifact import verification
from export.artifact.inputs import ExportInputs

KEYS = ("abstain", "abstain_rows")  # of a manifest


def choose_thresholds(
    inputs: ExportInputs,
    predictor: Predictor,
    zero_point: int | None,
    tested: np.ndarray,
) -> dict[str, Any]:
    """Returns the fields KEYS of a manifest, see docs/export.md.

    Args:
        predictor: runs the file.
        zero_point: what an integer output gives for 0; None: the output is a float.
        tested: the file's probabilities of the images that judge, float64 [N, K]. On
            test images the thresholds are measured, and not chosen; validation rows
            are those that they are chosen on, and measure nothing.

    Raises:
        TrainingFailed: an output is not a probability.
    """
    found, rows = _find_thresholds(inputs, predictor)
    labels, step = inputs.verification_set.labels, predictor.model.step
    entries = {
        selective_thresholds.target_key(one.target): selective_thresholds.to_json(
            one,
            selective_thresholds.quantize(one.value, step, zero_point),
            None
            if inputs.test is None
            else selective_thresholds.measure(tested, labels, one),
        )
        for one in found
    }
    return {"abstain": entries, "abstain_rows": rows}


def count_images(inputs: ExportInputs) -> int:
    """Number of validation images that a file is run on."""
    shown = inputs.validation
    return 0 if isinstance(shown, str) else len(shown.labels)


def _find_thresholds(
    inputs: ExportInputs, predictor: Predictor
) -> tuple[list[Threshold], dict[str, Any]]:
    """A threshold for each of TARGETS, and what they were chosen on."""
    shown = inputs.validation
    if isinstance(shown, str):
        none = [selective_thresholds.no_threshold(each, shown) for each in TARGETS]
        return none, _describe_rows(0, None)
    answers = verification.predict_images(
        shown.images, shown.labels, predictor, f"{predictor.name}, validation rows"
    )
    step = predictor.model.step
    counts = selective_thresholds.count_answers(answers, shown.labels, step)
    found = [selective_thresholds.find_threshold(counts, each) for each in TARGETS]
    return found, _describe_rows(len(shown.labels), shown.rows_sha256)


def _describe_rows(images: int, rows_sha256: str | None) -> dict[str, Any]:
    return {"images": images, "rows_sha256": rows_sha256, "confidence": CONFIDENCE}
