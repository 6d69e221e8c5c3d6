"""Confidence intervals of a proportion."""


def wilson_interval(
    correct: int, total: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson's score interval (Wilson 1927) for `correct` successes of `total` trials.

    Raises:
        ValueError: `total` is not positive or `correct` not within 0..total.
    """
    from scipy import stats  # a second, which flags and training need not wait for

    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"{correct} of {total} is not a proportion")
    found = stats.binomtest(int(correct), int(total)).proportion_ci(
        confidence, "wilson"
    )
    # Rounding must not push the ends past the rate itself.
    rate = correct / total
    return min(rate, float(found.low)), max(rate, float(found.high))
