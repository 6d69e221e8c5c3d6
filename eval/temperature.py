"""Temperature scaling (Guo et al. 2017): one number that softens or sharpens.

Dividing logits by T changes probabilities to softmax(log p / T): the order of the
classes, and so the accuracy, stays; confidence comes to match accuracy.
"""

import numpy as np
from scipy import optimize, special

from eval import scores

BOUNDS = (0.05, 20.0)  # an optimum at one is none: the NLL falls all the way to it
# Rows of either kind, right and wrong, that a fit needs. Answers as honest as can be,
# drawn anew and fitted: with 10 wrong ones T is off by 15 to 20 %, which costs new rows
# 0.005 nats; with fewer than 5 of 30 it costs up to 0.38.
LEAST = 10


def soften(
    probabilities: np.ndarray, temperature: float, floor: float = scores.SMALLEST
) -> np.ndarray:
    """`probabilities` [N, C] at another temperature; rows sum to 1, float64.

    At temperature 1 they come back untouched; values below `floor` count as it.
    """
    if temperature == 1:
        return probabilities
    logs = np.log(np.maximum(probabilities, floor))
    return special.softmax(logs / temperature, axis=1)


def fit(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature within BOUNDS with the least NLL on these rows.

    The NLL is convex in 1 / T, so the minimum is the only one.
    """
    scores.check(probabilities, labels)
    logs = np.log(np.maximum(probabilities, scores.SMALLEST))
    rows = np.arange(len(labels))

    def loss(inverse: float) -> float:
        return -special.log_softmax(logs * inverse, axis=1)[rows, labels].mean()

    low, high = 1 / BOUNDS[1], 1 / BOUNDS[0]
    best = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}
    )
    return float(1 / best.x)


def doubt(probabilities: np.ndarray, labels: np.ndarray, value: float) -> str | None:
    """Why the `value` fitted on these rows is none to trust; None if it is."""
    low, high = BOUNDS
    right = int(scores.correct(probabilities, labels).sum())
    wrong = len(labels) - right
    few = "wrong" if wrong < right else "right"
    if min(right, wrong) < LEAST:
        return (
            f"{min(right, wrong)} of {len(labels):,} validation rows are {few}; fewer "
            f"than {LEAST} do not tell a temperature"
        )
    if not 1.01 * low < value < high / 1.01:
        return (
            f"no temperature within {low} to {high:g} fits the {len(labels):,} "
            "validation rows"
        )
    return None
