"""Scores a model on corrupted test images (Hendrycks & Dietterich 2019)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from eval.metrics import classification
from eval.robustness import corruptions
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
    types: dict[str, list[dict[str, float]]] = {name: [] for name in corruptions.TYPES}
    with CONSOLE.count(
        len(cases) * len(images) * views, "testing corrupted images"
    ) as tick:
        for name, level in cases:
            changed = corruptions.corrupt(images, name, level, SEED)
            probabilities = predict(changed, tick)
            classification.validate(probabilities, labels)
            types[name].append(_scores(probabilities, labels, level, min_probability))
    every = [row for rows in types.values() for row in rows]
    means = {
        k: float(np.mean([row[k] for row in every])) for k in ("accuracy", "nll", "ece")
    }
    return {"images": len(images), "seed": SEED, "mean": means, "types": types}


def _scores(
    probabilities: np.ndarray, labels: np.ndarray, severity: int, min_probability: float
) -> dict[str, float]:
    return {
        "severity": severity,
        "accuracy": classification.accuracy(probabilities, labels),
        "nll": classification.nll(probabilities, labels, min_probability),
        "ece": classification.ece(classification.reliability(probabilities, labels)),
    }
