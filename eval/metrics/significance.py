"""Tests whether two models differ, on the same rows."""

from collections.abc import Callable

import numpy as np

from trainer.models.intervals import wilson_interval

RESAMPLES = 2000
_BLOCK = 100  # resamples drawn together: 8 MB at 10,000 rows


def mcnemar(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """McNemar's exact test of two bool [N] of correct predictions (McNemar 1947).

    The p-value is that of a two-sided binomial test with p = 0.5 on the rows that
    exactly one model predicts correctly; 1 if there is no such row.
    """
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    total = only_first + only_second
    p = 1.0
    if total:
        from scipy import stats  # takes a second, which most exports do not need

        p = float(stats.binomtest(only_first, total).pvalue)
    return {"only_first": only_first, "only_second": only_second, "p_value": p}


def paired_difference(first: np.ndarray, second: np.ndarray) -> list[float]:
    """95 % interval of mean(first) - mean(second), bool [N] of the same rows.

    Newcombe 1998, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", method 10, combines Wilson's intervals of both
    with their correlation. It is valid for few rows, where a bootstrap is not.
    """
    n = len(first)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    one, two = int(first.sum()), int(second.sum())
    (low_1, high_1), (low_2, high_2) = wilson_interval(one, n), wilson_interval(two, n)
    product = both * neither - (one - both) * (two - both)
    if product > 0:  # continuity correction
        product = max(product - n / 2, 0)
    spread = one * (n - one) * two * (n - two)
    phi = product / spread**0.5 if spread else 0.0
    p, q = one / n, two / n

    def reach(a: float, b: float) -> float:
        return max(a * a - 2 * phi * a * b + b * b, 0.0) ** 0.5

    gap = (one - two) / n
    return [gap - reach(p - low_1, high_2 - q), gap + reach(high_1 - p, q - low_2)]


def paired_bootstrap(
    first: np.ndarray, second: np.ndarray, *, seed: int = 0
) -> dict[str, float | list[float]]:
    """Mean of `second` - `first`, float [N], and its 95 % percentile interval.

    Rows are drawn with replacement, both models' values together (Efron & Tibshirani
    1993, ch. 13), RESAMPLES times.
    """
    difference = np.asarray(second, float) - np.asarray(first, float)
    rng = np.random.default_rng(seed)
    return {
        "difference": float(difference.mean()),
        "interval": _interval(difference, rng.integers),
    }


def _interval(difference: np.ndarray, draw: Callable[..., np.ndarray]) -> list[float]:
    n = len(difference)
    means = [
        difference[draw(n, size=(_BLOCK, n))].mean(axis=1)
        for _ in range(RESAMPLES // _BLOCK)
    ]
    return np.quantile(np.concatenate(means), [0.025, 0.975]).tolist()
