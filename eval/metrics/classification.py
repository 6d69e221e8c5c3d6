"""Computes scores of class probabilities with NumPy and scikit-learn only.

`probabilities` is always float [N, C] with values in 0..1, and `labels` is int [N] with
values in 0..C-1. Ties go to the lower class id. No score depends on the order of the
rows. The docstring of each function names the paper of its definition.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.models.intervals import wilson_interval

# Probabilities are clipped to this value, which a float64 softmax of float32 logits
# does not round to 0, unless the number format of a file has a larger step.
SMALLEST = float(np.finfo(np.float32).tiny)
COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def validate(probabilities: np.ndarray, labels: np.ndarray) -> None:
    """Checks the shapes and ranges that the scores need.

    Raises:
        ValueError: the message names the row that is wrong."""
    rows, classes = probabilities.shape
    if labels.shape != (rows,) or rows == 0:
        raise ValueError(
            f"{rows} rows of probabilities and {labels.size} labels; the numbers must"
            " be equal, and at least 1"
        )
    sound = ((probabilities >= 0) & (probabilities <= 1)).all(axis=1)  # False for NaN
    if not sound.all():
        row = int(np.argmin(sound))
        raise ValueError(
            f"row {row} of the probabilities is {np.round(probabilities[row], 4)}; each"
            " must be a number from 0 to 1"
        )
    known = (labels >= 0) & (labels < classes)
    if not known.all():
        row = int(np.argmin(known))
        raise ValueError(f"row {row} has label {labels[row]}; limit: 0..{classes - 1}")


def predictions(probabilities: np.ndarray) -> np.ndarray:
    """Predicts the class of each row; ties go to the lowest id: int64 [N]."""
    return np.argmax(probabilities, axis=1)


def ties(probabilities: np.ndarray) -> int:
    """Counts the rows in which several classes have the largest probability."""
    top = probabilities.max(axis=1, keepdims=True)
    return int(((probabilities == top).sum(axis=1) > 1).sum())


def correct(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each row is predicted correctly: bool [N]."""
    return predictions(probabilities) == labels


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of rows whose predicted class is the label."""
    return float(correct(probabilities, labels).mean())


def top_k(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of rows whose label is among the k most likely classes."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    lower = np.arange(probabilities.shape[1]) < labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & lower)
    return float((ahead.sum(axis=1) < k).mean())


def top_k_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Computes top-2, top-3 and top-5 accuracy with intervals, by k as text."""
    count, classes = probabilities.shape
    found = {str(k): top_k(probabilities, labels, k) for k in (2, 3, 5) if k < classes}
    return {
        "top_k": found,
        "top_k_interval": {
            k: interval(round(share * count), count) for k, share in found.items()
        },
    }


def nll(
    probabilities: np.ndarray, labels: np.ndarray, min_probability: float = SMALLEST
) -> float:
    """Mean negative log-likelihood of the label in nats (Good 1952, log score).

    Args:
        min_probability: lower probabilities of a label are raised to this value. For a
            quantised output it is half a step, the largest value that is stored as 0.
    """
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, min_probability)).mean())


def brier(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared distance to the one-hot label, 0..2 (Brier 1950)."""
    target = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - target) ** 2).sum(axis=1).mean())


def reliability(
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    bins: int = 15,
    equal_mass: bool = False,
) -> list[dict[str, float]]:
    """Reliability table: confidence and accuracy of each bin (lower, upper].

    Equal-width bins are those of Guo et al. 2017, "On Calibration of Modern Neural
    Networks"; equal-mass bins those of Nguyen & O'Connor 2015, with rows of equal
    confidence kept together. Empty bins are left out. Each accuracy has Wilson's 95 %
    interval.
    """
    confidence = probabilities.max(axis=1)
    right = correct(probabilities, labels)
    edges = np.linspace(0, 1, bins + 1)
    if equal_mass:
        edges = np.quantile(confidence, edges, method="inverted_cdf")
        edges = np.unique(np.r_[0.0, edges[1:]])
    bin_of_row = np.clip(np.searchsorted(edges, confidence) - 1, 0, None)
    table = []
    for index in np.unique(bin_of_row):
        inside = bin_of_row == index
        count, hits = int(inside.sum()), int(right[inside].sum())
        table.append(
            {
                "lower": float(edges[index]),
                "upper": float(edges[index + 1]),
                "count": count,
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(right[inside].mean()),
                "accuracy_interval": interval(hits, count),
            }
        )
    return table


def ece(table: Sequence[Mapping[str, float]]) -> float:
    """Expected calibration error of a `reliability` table (Naeini et al. 2015)."""
    gaps = [row["count"] * abs(row["accuracy"] - row["confidence"]) for row in table]
    return float(sum(gaps) / sum(row["count"] for row in table))


def ece_by_chance(table: Sequence[Mapping[str, float]]) -> float:
    """ECE that a perfectly calibrated model shows on average, with as many images.

    The share of right answers in a bin of n images differs from the confidence p by
    sqrt(2 p (1 - p) / (pi n)) on average, the mean deviation of a normal distribution.
    """
    gaps = [
        math.sqrt(2 / math.pi * row["count"] * row["confidence"])
        * math.sqrt(max(0.0, 1 - row["confidence"]))
        for row in table
    ]
    return float(sum(gaps) / sum(row["count"] for row in table))


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Confusion matrix of counts, label by prediction: int64 [C, C]."""
    shape = 2 * probabilities.shape[1:]
    cells = np.ravel_multi_index((labels, predictions(probabilities)), shape)
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)


def per_class(matrix: np.ndarray) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class of a confusion matrix, with intervals.

    A ratio of 0 / 0 is 0, as in scikit-learn. Intervals are Wilson's 95 % (Wilson
    1927). F1 = 2J / (1 + J) increases with J = hits / (hits + misses + false alarms), a
    proportion, so the ends of J's interval are converted.
    """
    rows = []
    for index, hits in enumerate(np.diag(matrix).tolist()):
        support, claimed = int(matrix[index].sum()), int(matrix[:, index].sum())
        either = support + claimed - hits
        jaccard = hits / max(either, 1)
        rows.append(
            {
                "support": support,
                "precision": hits / max(claimed, 1),
                "precision_interval": interval(hits, claimed),
                "recall": hits / max(support, 1),
                "recall_interval": interval(hits, support),
                "f1": 2 * jaccard / (1 + jaccard),
                "f1_interval": [2 * j / (1 + j) for j in interval(hits, either)],
            }
        )
    return rows


def interval(hits: int, total: int) -> list[float]:
    """Wilson's 95 % interval of hits / total; 0..1 if `total` is 0."""
    return list(wilson_interval(hits, total)) if total else [0.0, 1.0]


def class_means(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Plain (macro) and support-weighted means of a `per_class` table."""
    support = [row["support"] for row in rows]
    names = ("precision", "recall", "f1")
    values = np.array([[row[name] for name in names] for row in rows])
    return {
        "macro": dict(zip(names, values.mean(axis=0).tolist(), strict=True)),
        "weighted": dict(
            zip(
                names,
                np.average(values, axis=0, weights=support).tolist(),
                strict=True,
            )
        ),
    }


def roc_auc(probabilities: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Area under each class's one-versus-rest ROC curve (Fawcett 2006).

    The area is None if all rows or no rows have the class: the curve is not defined.
    """
    from sklearn import metrics  # takes two seconds, which exports do not need

    areas = []
    for index in range(probabilities.shape[1]):
        own = labels == index
        defined = 0 < own.sum() < len(labels)
        column = probabilities[:, index]
        areas.append(float(metrics.roc_auc_score(own, column)) if defined else None)
    return areas


def most_confused(matrix: np.ndarray, limit: int = 10) -> list[dict[str, int]]:
    """Lists the most frequent (label, prediction) mistakes, most frequent first."""
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    pairs = np.stack(np.unravel_index(order, wrong.shape), axis=1).tolist()
    return [
        {"label": label, "prediction": prediction, "count": int(count)}
        for label, prediction in pairs
        if (count := wrong[label, prediction])
    ]


def risks(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Error rate of the n most confident rows, for n = 1..N: float64 [N].

    This is selective prediction by the largest probability (Geifman & El-Yaniv 2017).
    Rows of equal confidence have their mean error, so that their order does not matter.
    """
    _, group = np.unique(-probabilities.max(axis=1), return_inverse=True)
    wrong = ~correct(probabilities, labels)
    shared = np.bincount(group, weights=wrong) / np.bincount(group)
    return np.cumsum(shared[np.sort(group)]) / np.arange(1, len(labels) + 1)


def selective_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Computes the accuracy on the most confident rows, and the mean risk (AURC).

    "confidence" is the lowest of those rows: answers below it are left out.
    """
    risk = risks(probabilities, labels)
    confidence = np.sort(probabilities.max(axis=1))[::-1]
    kept = [int(np.ceil(share * len(risk))) for share in COVERAGES]
    rows = [
        {
            "coverage": share,
            "rows": count,
            "confidence": float(confidence[count - 1]),
            "accuracy": float(1 - risk[count - 1]),
            "accuracy_interval": interval(round(count * (1 - risk[count - 1])), count),
        }
        for share, count in zip(COVERAGES, kept, strict=True)
    ]
    return {"accuracy_at_coverage": rows, "aurc": float(risk.mean())}


def calibration_scores(
    probabilities: np.ndarray, labels: np.ndarray, min_probability: float = SMALLEST
) -> dict[str, Any]:
    """Computes the scores that a temperature changes: NLL, Brier, ECE and its bins."""
    width = reliability(probabilities, labels)
    mass = reliability(probabilities, labels, equal_mass=True)
    return {
        "nll": nll(probabilities, labels, min_probability),
        "brier": brier(probabilities, labels),
        "ece": ece(width),
        "ece_equal_mass": ece(mass),
        "ece_by_chance": ece_by_chance(width),
        "reliability": width,
        "reliability_equal_mass": mass,
    }


def compute_scores(
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    min_probability: float = SMALLEST,
) -> dict[str, Any]:
    """Computes all scores; docs/report_schema.md describes the fields.

    Raises:
        ValueError: a row is not finite or out of range, or a label is unknown.
    """
    validate(probabilities, labels)
    right = correct(probabilities, labels)
    matrix = confusion(probabilities, labels)
    classes = per_class(matrix)
    areas = roc_auc(probabilities, labels)
    defined = [area for area in areas if area is not None]
    for row, name, area in zip(classes, names, areas, strict=True):
        row.update(name=name, roc_auc=area)
    own = probabilities[np.arange(len(labels)), labels]
    return {
        "images": len(labels),
        "correct": int(right.sum()),
        "accuracy": float(right.mean()),
        "accuracy_interval": interval(int(right.sum()), len(labels)),
        **top_k_scores(probabilities, labels),
        "ties": ties(probabilities),
        "clipped": int((own < min_probability).sum()),
        "clipped_at": min_probability,
        "roc_auc_macro": float(np.mean(defined)) if defined else None,
        "per_class": classes,
        **class_means(classes),
        "confusion": matrix.tolist(),
        "most_confused": most_confused(matrix),
        **selective_scores(probabilities, labels),
        **calibration_scores(probabilities, labels, min_probability),
    }
