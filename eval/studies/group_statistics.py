"""Difference of two groups of seeds: what is chance of seeds, what of images.

With a[i, j] whether training i of a group is right on image j, the difference d of two
groups' mean accuracies has three 95 % intervals:

- over seeds: d -+ t sqrt(s1^2 / K1 + s2^2 / K2), Welch's (1947), s the standard
  deviations of the trainings' accuracies: other seeds, these images.
- over images: paired bootstrap of the images' mean correctness: these trainings, other
  images. Both groups answer the same images, so what is hard for all cancels.
- over both: d -+ sqrt(g^2 + h^2), with g the reach over seeds and h = 1.96 sqrt(v / n)
  that over images, v the variance over images of the difference of mean correctness.
  What seeds and images do together counts twice, so it is rather too wide.
"""

import math
from typing import Any

import numpy as np

from eval.metrics import significance
from eval.studies import seed_statistics


def compare(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Mean accuracy of `second` minus that of `first`, bool [K1, N] and [K2, N].

    Intervals over seeds need two seeds or more in each group, else they are None.
    """
    gap = second.mean(axis=0) - first.mean(axis=0)
    by_images = significance.paired_bootstrap(first.mean(axis=0), second.mean(axis=0))
    difference = float(gap.mean())
    of_images = float(gap.var(ddof=1)) / len(gap)
    over_seeds = over_both = None
    if min(len(first), len(second)) > 1:
        reach = _reach_of_seeds(first, second)
        of_images = seed_statistics.NORMAL_QUANTILE * math.sqrt(of_images)
        over_seeds = [difference - reach, difference + reach]
        both = math.hypot(reach, of_images)
        over_both = [difference - both, difference + both]
    return {
        "difference": difference,
        "over_seeds": over_seeds,
        "over_images": by_images["interval"],
        "over_both": over_both,
    }


def _reach_of_seeds(first: np.ndarray, second: np.ndarray) -> float:
    """Half of Welch's interval of the difference, bool [K1, N] and [K2, N]."""
    groups = (first, second)
    parts = [float(one.mean(axis=1).var(ddof=1)) / len(one) for one in groups]
    variance = sum(parts)
    spread = sum(p * p / (len(one) - 1) for p, one in zip(parts, groups, strict=True))
    freedom = variance**2 / spread if spread else len(first) + len(second) - 2
    return seed_statistics.t_quantile(freedom) * math.sqrt(variance)
