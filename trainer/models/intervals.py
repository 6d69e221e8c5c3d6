"""Confidence intervals of a proportion."""

import math

NORMAL_QUANTILE = 1.959963984540054  # scipy.special.ndtri(0.975)


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Computes Wilson's 95 % score interval (Wilson 1927): `correct` of `total`.

    It uses the operations of scipy.stats.binomtest and gives the same bits, without the
    import, which takes a CPU-second.

    Raises:
        ValueError: `total` is not positive or `correct` not within 0..total.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"{correct} of {total} is not a proportion")
    hits, trials, square = int(correct), int(total), NORMAL_QUANTILE**2
    rate = hits / trials
    width = 2 * (trials + square)
    centre = (2 * trials * rate + square) / width
    spread = math.sqrt(4 * trials * rate * (1 - rate) + square)
    reach = NORMAL_QUANTILE / width * spread
    low = 0.0 if hits == 0 else centre - reach
    high = 1.0 if hits == trials else centre + reach
    # Rounding must not push the ends past the rate itself.
    return min(rate, low), max(rate, high)
