"""Intervals over seeds, over images and over both hold what they say."""

import numpy as np
import pytest
from scipy import stats

from eval.studies import seed_statistics
from trainer.models.intervals import wilson_interval


@pytest.mark.parametrize("freedom", [1, 2, 5, 10, 11, 20, 50, 1000])
def test_the_quantile_is_students(freedom):
    expected = stats.t.ppf(0.975, freedom)
    assert seed_statistics.t_quantile(freedom) == pytest.approx(expected, abs=1e-3)


def test_the_interval_over_images_is_that_of_the_trainer():
    found = seed_statistics.summarize([0.9], 200)
    assert found.over_images == pytest.approx(wilson_interval(180, 200), abs=1e-9)
    assert found.std is found.over_seeds is found.over_both is None


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 0.56419), (10, 1.53875)])
def test_the_expected_maximum_is_that_of_tables(count, expected):
    assert seed_statistics.expected_maximum(count) == pytest.approx(expected, abs=1e-4)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Seeds and images are drawn; which truth is covered tells the intervals apart."""
    draws = np.random.default_rng(0)
    hits = {"over_seeds": 0, "over_images": 0, "over_both": 0}
    rounds, seeds, images = 400, 4, 300
    for _ in range(rounds):
        difficulty = draws.uniform(0.6, 1.0, images)  # of an image, for any seed
        shifts = draws.normal(0, 0.03, seeds)
        chance = np.clip(difficulty + shifts[:, None], 0, 1)
        right = draws.uniform(size=(seeds, images)) < chance
        found = seed_statistics.summarize(list(right.mean(1)), images)
        truths = {
            "over_seeds": difficulty.mean(),  # other seeds, these images
            "over_images": 0.8 + shifts.mean(),  # these seeds, other images
            "over_both": 0.8,
        }
        for name, truth in truths.items():
            low, high = getattr(found, name)
            hits[name] += low <= truth <= high
    assert all(count / rounds > 0.92 for count in hits.values()), hits
    assert hits["over_both"] > 0.94 * rounds


def test_equal_seeds_leave_the_noise_of_images():
    found = seed_statistics.summarize([0.9, 0.9, 0.9], 100)
    assert found.over_seeds == (0.9, 0.9)
    low, high = found.over_both
    assert high - low == pytest.approx(2 * 1.96 * 0.03, abs=2e-3)
