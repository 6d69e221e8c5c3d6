"""Class weights: how much an example of each class counts in the loss.

Weighting by a power of the inverse frequency is usual for long-tailed data; Cui et al.
2019, "Class-Balanced Loss Based on Effective Number of Samples", compare the choices.
"""

from collections.abc import Sequence

import numpy as np

from trainer.errors import InvalidInput


def class_weights(
    labels: np.ndarray, names: Sequence[str], power: float
) -> np.ndarray | None:
    """Computes each class's weight: n ** -`power`, with a mean of 1 over `labels`.

    Args:
        labels: int [N], of the training examples; n of them are of the class.
        names: class names, by label.
        power: 0 gives every example the weight 1; 1 gives every class the same sum.

    Returns:
        float64 [K]; None where `power` is 0.

    Raises:
        InvalidInput: a class has no training example.
    """
    if not power:
        return None
    counts = np.bincount(labels, minlength=len(names))
    if not counts.all():
        missing = names[int(np.argmin(counts))]
        raise InvalidInput(
            f"class_weight={power} cannot weight class {missing!r:.60}: it has no "
            "training rows; give it some, or leave `class_weight` out"
        )
    weights = counts.astype(np.float64) ** -power
    return weights * len(labels) / (weights * counts).sum()
