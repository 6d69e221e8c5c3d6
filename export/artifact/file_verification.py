"""Runs an exported file before it gets its name: scores, gate and thresholds."""

from typing import Any

from eval.predictors.predictor import Predictor
from export.artifact import answer_thresholds, verification
from export.artifact.inputs import ExportInputs
from export.artifact.number_formats import Scheme


def verify_file(
    inputs: ExportInputs,
    predictor: Predictor,
    scheme: Scheme | None,
    name: str,
    *,
    zero_point: int | None = None,
    worst_layers: str = "",
) -> dict[str, Any]:
    """Runs a file on the images that judge, and then on validation rows.

    Args:
        predictor: runs the file.
        scheme: of the file; None: a SavedModel.
        name: of the file, shown as progress.
        zero_point: what an integer output gives for 0; None: the output is a float.
        worst_layers: see `Gate.enforce`.

    Returns:
        Fields of a manifest: what it scored, and its thresholds.

    Raises:
        TrainingFailed: it misses its gate, or an output is not a probability.
    """
    expected = inputs.verification_set
    answers = verification.predict(expected, predictor, name)
    test = verification.describe(expected, predictor, answers)
    drop = inputs.verification.max_accuracy_drop
    verification.Gate.for_scheme(scheme, drop).enforce(test, worst_layers)
    thresholds = answer_thresholds.choose_thresholds(
        inputs, predictor, zero_point, answers
    )
    return {inputs.evaluated_on: test, **thresholds}
