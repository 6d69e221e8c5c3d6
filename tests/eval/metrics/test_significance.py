"""Two models on the same rows: exact p-values, intervals that cover."""

import math

import numpy as np
import pytest

from eval.metrics import significance


def rights(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Bool rows of both right, first only, second only, neither."""
    pairs = [(True, True), (True, False), (False, True), (False, False)]
    rows = np.repeat(np.array(pairs), counts, axis=0)
    return rows[:, 0], rows[:, 1]


def test_mcnemar_equals_the_binomial_sum():
    tail = sum(math.comb(12, k) for k in range(3)) / 2**12
    result = significance.mcnemar(*rights(50, 2, 10, 5))
    assert (result["only_first"], result["only_second"]) == (2, 10)
    assert result["p_value"] == pytest.approx(2 * tail, abs=1e-12)


def test_models_that_agree_do_not_differ():
    assert significance.mcnemar(*rights(9, 0, 0, 3))["p_value"] == 1
    assert significance.mcnemar(*rights(9, 4, 4, 3))["p_value"] == 1


def test_swapping_the_models_changes_the_sign_only():
    first, second = rights(50, 5, 20, 25)
    ahead = significance.paired_bootstrap(first, second)
    behind = significance.paired_bootstrap(second, first)
    assert ahead["difference"] == -behind["difference"] == 0.15
    assert ahead["interval"] == pytest.approx([-x for x in behind["interval"][::-1]])


def test_the_bootstrap_interval_is_the_normal_one_for_many_rows():
    first, second = rights(3000, 300, 400, 300)
    difference = second.astype(float) - first
    half = 1.96 * difference.std() / np.sqrt(len(difference))
    low, high = significance.paired_bootstrap(first, second)["interval"]
    assert low == pytest.approx(difference.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(difference.mean() + half, abs=0.1 * half)


@pytest.mark.parametrize(
    ("counts", "interval"),
    [  # Newcombe 1998, table II, method 10
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        ((0, 0, 0, 50), (-0.0713, 0.0713)),
    ],
)
def test_the_paired_difference_is_newcombes(counts, interval):
    found = significance.paired_difference(*rights(*counts))
    assert found == pytest.approx(interval, abs=6e-4)


def test_the_paired_difference_covers_also_few_rows():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        both = rng.random(60) < 0.9
        first = both | (rng.random(60) < 0.2)
        second = both | (rng.random(60) < 0.2)
        low, high = significance.paired_difference(first, second)
        covered += low <= 0 <= high
    assert covered >= 0.93 * 400
