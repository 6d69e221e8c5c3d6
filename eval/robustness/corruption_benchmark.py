"""Scores on corrupted copies of the test images."""

from collections.abc import Callable
from typing import Any

import numpy as np

from eval import progress_bar
from eval.metrics import classification
from eval.robustness import corruptions
from trainer.monitoring.progress import OnBatch

SEED = 0


def sample_rows(count: int, limit: int | None) -> np.ndarray:
    """Ascending rows of `limit` of `count` images, the same each time; None: all."""
    if limit is None or limit >= count:
        return np.arange(count)
    chosen = np.random.default_rng(SEED).choice(count, limit, replace=False)
    return np.sort(chosen)


def measure(
    answer: Callable[[np.ndarray, OnBatch], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    floor: float = classification.SMALLEST,
    views: int = 1,
) -> dict[str, Any]:
    """Accuracy, NLL and ECE under every corruption, and their means over all.

    Args:
        answer: probabilities of images; it calls the Tick with each number done.
        images: uint8 [N, H, W, C], every one under all corruptions and severities.
        views: how often the Tick hears of each image.
    """
    cases = [
        (name, level) for name in corruptions.TYPES for level in corruptions.SEVERITIES
    ]
    types: dict[str, list[dict[str, float]]] = {name: [] for name in corruptions.TYPES}
    with progress_bar.progress_bar(
        len(cases) * len(images) * views, "corrupted"
    ) as tick:
        for name, level in cases:
            changed = corruptions.corrupt(images, name, level, SEED)
            probabilities = answer(changed, tick)
            classification.check(probabilities, labels)
            types[name].append(_row(probabilities, labels, level, floor))
    every = [row for rows in types.values() for row in rows]
    means = {
        k: float(np.mean([row[k] for row in every])) for k in ("accuracy", "nll", "ece")
    }
    return {"images": len(images), "seed": SEED, "mean": means, "types": types}


def _row(
    probabilities: np.ndarray, labels: np.ndarray, severity: int, floor: float
) -> dict[str, float]:
    return {
        "severity": severity,
        "accuracy": classification.accuracy(probabilities, labels),
        "nll": classification.nll(probabilities, labels, floor),
        "ece": classification.ece(classification.reliability(probabilities, labels)),
    }
