"""Means over seeds, and three intervals that are told apart: seeds, images, both.

K trainings of one configuration with seeds 1..K have accuracies a_1..a_K on the same n
images; m is their mean, s their standard deviation (K - 1).

- over seeds: m -+ t(0.975, K - 1) s / sqrt(K). Where the mean of ever more seeds would
  lie, on these very images.
- over images: Wilson's interval of m on n images. Where the mean of these very
  trainings would lie on ever more images. The variance of an image's mean correctness
  is at most m (1 - m), so the interval is too wide rather than too narrow.
- over both: m -+ sqrt(g^2 + h^2), with g = t s / sqrt(K), the reach over seeds, and
  h = 1.96 sqrt(m (1 - m) / n), that over images. Never narrower than either.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any

_NORMAL = statistics.NormalDist()
NORMAL_QUANTILE = _NORMAL.inv_cdf(0.975)
# Student's t(0.975) for 1 to 10 degrees of freedom; the expansion below is exact to
# 0.001 beyond.
_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


@dataclasses.dataclass(frozen=True)
class SeedSummary:
    """The accuracy of several seeds of one configuration.

    Attributes:
        seeds: how many.
        mean, std: over seeds; None for a single one.
        images: number of images, the same ones for all.
        over_seeds, over_images, over_both: 95 % intervals, see the module.
    """

    seeds: int
    mean: float
    std: float | None
    images: int | None
    over_seeds: tuple[float, float] | None
    over_images: tuple[float, float] | None
    over_both: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON."""
        return dataclasses.asdict(self)


def summarize(accuracies: Sequence[float], images: int | None) -> SeedSummary:
    """Summarizes the accuracies of one or more seeds on the same `images`."""
    count, mean = len(accuracies), statistics.fmean(accuracies)
    std = statistics.stdev(accuracies) if count > 1 else None
    over_seeds = over_both = None
    if std is not None:
        reach = t_quantile(count - 1) * std / math.sqrt(count)
        over_seeds = _around(mean, reach)
        if images is not None:
            of_images = NORMAL_QUANTILE * math.sqrt(mean * (1 - mean) / images)
            over_both = _around(mean, math.hypot(reach, of_images))
    over_images = None if images is None else wilson(mean, images)
    return SeedSummary(count, mean, std, images, over_seeds, over_images, over_both)


def _around(mean: float, reach: float) -> tuple[float, float]:
    return max(0.0, mean - reach), min(1.0, mean + reach)


def wilson(rate: float, total: int) -> tuple[float, float]:
    """Wilson's 95 % score interval (1927) of `rate` among `total` images."""
    square = NORMAL_QUANTILE**2
    centre = (rate + square / (2 * total)) / (1 + square / total)
    spread = math.sqrt(rate * (1 - rate) / total + square / (4 * total**2))
    reach = NORMAL_QUANTILE / (1 + square / total) * spread
    return max(0.0, centre - reach), min(1.0, centre + reach)


def t_quantile(freedom: float) -> float:
    """Student's t(0.975) of `freedom` degrees, by Cornish and Fisher's expansion."""
    if freedom <= len(_T):
        return _T[max(1, int(freedom)) - 1]
    z, n = NORMAL_QUANTILE, freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3


def expected_maximum(count: int) -> float:
    """The expected largest of `count` independent standard normal numbers.

    n times the integral of x phi(x) Phi(x)^(n-1) (David and Nagaraja, Order Statistics,
    2003, equation 3.1.1), by Simpson's rule.
    """
    if count < 2:
        return 0.0
    low, width, parts = -9.0, 18.0, 2000
    total = 0.0
    for step in range(parts + 1):
        x = low + width * step / parts
        weight = 1 if step in (0, parts) else 4 if step % 2 else 2
        total += weight * x * _NORMAL.pdf(x) * _NORMAL.cdf(x) ** (count - 1)
    return count * total * width / parts / 3
