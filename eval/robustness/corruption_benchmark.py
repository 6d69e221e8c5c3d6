"""Scores a model on corrupted test images (Hendrycks & Dietterich 2019)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from eval.metrics import classification
from eval.robustness import corruptions
from trainer.models.intervals import NORMAL_QUANTILE
from trainer.monitoring.progress import CONSOLE, OnBatch

SEED = 0


def sample_rows(count: int, limit: int | None) -> np.ndarray:
    """Draws `limit` of `count` rows, always the same, ascending; None: all."""
    if limit is None or limit >= count:
        return np.arange(count)
    chosen = np.random.default_rng(SEED).choice(count, limit, replace=False)
    return np.sort(chosen)


def measure(
    predict: Callable[[np.ndarray, OnBatch], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    min_probability: float = classification.SMALLEST,
    views: int = 1,
) -> dict[str, Any]:
    """Measures accuracy, NLL and ECE under every corruption, and their means.

    Args:
        predict: computes probabilities of images, and reports progress.
        images: uint8 [N, H, W, C]; each gets all corruptions and severities.
        views: number of times that `predict` counts each image.
    """
    cases = [
        (name, level) for name in corruptions.TYPES for level in corruptions.SEVERITIES
    ]
    types: dict[str, list[dict[str, Any]]] = {name: [] for name in corruptions.TYPES}
    right: dict[str, list[np.ndarray]] = {name: [] for name in corruptions.TYPES}
    with CONSOLE.count(
        len(cases) * len(images) * views, "testing corrupted images"
    ) as tick:
        for name, level in cases:
            changed = corruptions.corrupt(images, name, level, SEED)
            probabilities = predict(changed, tick)
            classification.validate(probabilities, labels)
            types[name].append(_scores(probabilities, labels, level, min_probability))
            right[name].append(classification.correct(probabilities, labels))
    every = [row for rows in types.values() for row in rows]
    return {
        "images": len(images),
        "seed": SEED,
        "mean": _means(every, np.concatenate(list(right.values()))),
        "type_means": {
            name: _means(rows, np.array(right[name])) for name, rows in types.items()
        },
        "types": types,
    }


def _means(rows: Sequence[Mapping[str, Any]], right: np.ndarray) -> dict[str, Any]:
    """Means of `rows`, of which `right` bool [rows, N] has the right answers."""
    found = {
        k: float(np.mean([r[k] for r in rows])) for k in ("accuracy", "nll", "ece")
    }
    return found | {"accuracy_interval": clustered_interval(right)}


def clustered_interval(right: np.ndarray) -> list[float]:
    """95 % interval of the mean of bool [conditions, N]: N images, each seen often.

    Answers to one image depend on each other, so the images are what is drawn. This is
    Wilson's interval at the effective sample size (Korn & Graubard 1998), within N and
    the number of answers.
    """
    count, mean = right.shape[1], float(right.mean())
    spread = float(right.mean(axis=0).var(ddof=1)) if count > 1 else 0.0
    size = mean * (1 - mean) * count / spread if spread > 0 else count
    size, square = min(max(size, count), right.size), NORMAL_QUANTILE**2
    middle = (size * mean + square / 2) / (size + square)
    reach = math.sqrt(size * mean * (1 - mean) * square + square**2 / 4)
    reach /= size + square
    return [max(0.0, min(mean, middle - reach)), min(1.0, max(mean, middle + reach))]


def _scores(
    probabilities: np.ndarray, labels: np.ndarray, severity: int, min_probability: float
) -> dict[str, Any]:
    hits = int(classification.correct(probabilities, labels).sum())
    return {
        "severity": severity,
        "accuracy": hits / len(labels),
        "accuracy_interval": classification.interval(hits, len(labels)),
        "nll": classification.nll(probabilities, labels, min_probability),
        "ece": classification.ece(classification.reliability(probabilities, labels)),
    }
