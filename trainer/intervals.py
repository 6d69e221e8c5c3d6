"""Confidence intervals of a proportion."""

import math
import statistics


def wilson(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (Wilson 1927) for `correct` successes of `total` trials.

    Raises:
        ValueError: `total` is not positive or `correct` not within 0..total.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"{correct} of {total} is not a proportion")
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    rate, weight = correct / total, z * z / total
    centre = (rate + weight / 2) / (1 + weight)
    half = z * math.sqrt(rate * (1 - rate) / total + weight / (4 * total))
    half /= 1 + weight
    # Rounding must not push the ends outside [0, 1] or past the rate itself.
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))
