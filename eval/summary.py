"""Every score of one evaluation as plain JSON values."""

from typing import Any

import numpy as np

from eval import scores


def summarise(
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    floor: float = scores.SMALLEST,
) -> dict[str, Any]:
    """All scores of `probabilities` [N, C]; docs/report_schema.md has the fields.

    Raises:
        ValueError: a row is not finite or out of range, or a label is unknown.
    """
    scores.check(probabilities, labels)
    right = scores.correct(probabilities, labels)
    matrix = scores.confusion(probabilities, labels)
    classes = scores.per_class(matrix)
    areas = scores.roc_auc(probabilities, labels)
    defined = [area for area in areas if area is not None]
    for row, name, area in zip(classes, names, areas, strict=True):
        row.update(name=name, roc_auc=area)
    several = [k for k in (2, 3, 5) if k < len(names)]
    own = probabilities[np.arange(len(labels)), labels]
    return {
        "images": len(labels),
        "correct": int(right.sum()),
        "accuracy": float(right.mean()),
        "accuracy_interval": scores.interval(int(right.sum()), len(labels)),
        "top_k": {str(k): scores.top_k(probabilities, labels, k) for k in several},
        "ties": scores.ties(probabilities),
        "clipped": int((own < floor).sum()),
        "clipped_at": floor,
        "roc_auc_macro": float(np.mean(defined)) if defined else None,
        "per_class": classes,
        **scores.means(classes),
        "confusion": matrix.tolist(),
        "most_confused": scores.most_confused(matrix),
        **scores.selective(probabilities, labels),
        **scores.calibrated(probabilities, labels, floor),
    }
