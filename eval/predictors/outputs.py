"""Converts the outputs of a model to probabilities."""

import enum

import numpy as np

from eval.metrics import classification


class Output(enum.Enum):
    """Meaning of a model's outputs."""

    AUTO = "auto"  # probabilities if every row can be probabilities, else logits
    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    SIGMOIDS = "sigmoids"  # one for each class; the sum of a row is arbitrary


# Meaning of the outputs by the last operator, in TFLite and in TensorFlow.
OUTPUT_OF_OPERATOR = {
    "SOFTMAX": Output.PROBABILITIES,
    "Softmax": Output.PROBABILITIES,
    "LOGISTIC": Output.SIGMOIDS,
    "Sigmoid": Output.SIGMOIDS,
    "LOG_SOFTMAX": Output.LOGITS,
    "LogSoftmax": Output.LOGITS,
}


def infer_output(raw: np.ndarray, step: float) -> Output:
    """Infers LOGITS or PROBABILITIES from every row of outputs [N, C].

    Outputs are probabilities if all values are within 0..1 and the sum of each row is
    within 0.001 of 1, or within the rounding error of C values with quantisation
    `step`.
    """
    slack = max(1e-3, raw.shape[1] * step / 2)
    in_range = raw.min() >= 0 and raw.max() <= 1 + step
    sums_to_one = (np.abs(raw.sum(axis=1) - 1) <= slack).all()
    return Output.PROBABILITIES if in_range and sums_to_one else Output.LOGITS


def to_probabilities(raw: np.ndarray, output: Output, step: float) -> np.ndarray:
    """Converts outputs [N, C] to float64 probabilities.

    PROBABILITIES are not normalised again. SIGMOIDS are divided by their sum, as an
    image has one class; a row of zeros becomes uniform.

    Raises:
        ValueError: a value is not finite, or is not a probability although it should
            be.
    """
    finite = np.isfinite(raw).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"the model gives {raw[row].tolist()} for image {row}; it must give finite"
            " numbers"
        )
    if output is Output.LOGITS:
        from scipy import special  # takes half a second, which --help does not need

        return special.softmax(raw.astype(np.float64), axis=1)
    if raw.min() < 0 or raw.max() > 1 + max(step, 1e-6):
        raise ValueError(
            f"the model gives values from {raw.min():.4g} to {raw.max():.4g}, which are"
            " not probabilities; try output=logits"
        )
    given = np.clip(raw.astype(np.float64), 0, 1)
    if output is Output.SIGMOIDS:
        total = given.sum(axis=1, keepdims=True)
        shares = given / np.where(total > 0, total, 1)
        return np.where(total > 0, shares, 1 / given.shape[1])
    return given


def min_probability(output: Output, step: float) -> float:
    """Least probability that is not stored as 0: half a step of a quantised output."""
    quantised = output is not Output.LOGITS and step > 0
    return step / 2 if quantised else classification.SMALLEST
