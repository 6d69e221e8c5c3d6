"""Thresholds keep what they promise, are on the file's grid, or do not exist."""

import numpy as np
import pytest
from scipy import special

from eval.metrics import selective_thresholds
from eval.metrics.selective_thresholds import TARGETS, AnswerCounts

ROWS, DRAWS = 600, 300
UINT8 = 1 / 256


def draw_images(count: int, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of easy and hard images, `sharpness` times too sure; labels."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 10, count)
    logits = rng.normal(size=(count, 10))
    logits[np.arange(count), classes] += 6 * (1 - rng.random(count) ** 2)
    honest = special.softmax(2.5 * logits, axis=1)
    labels = (honest.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return special.softmax(2.5 * logits * sharpness, axis=1), labels


@pytest.mark.parametrize("step", [0.0, UINT8])
@pytest.mark.parametrize("sharpness", [1.0, 2.5])
def test_the_guarantee_holds_in_as_many_draws_as_it_says(step, sharpness):
    """The images are a population, whose selective accuracies are known."""
    probabilities, labels = draw_images(60_000, sharpness)
    if step:
        probabilities = np.minimum(np.round(probabilities / step), 255) * step
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    rng, broken, found = np.random.default_rng(1), dict.fromkeys(TARGETS, 0), 0
    table = selective_thresholds.candidate_thresholds(step)
    whole = [right[confidence >= t].mean() for t in table]
    for _ in range(DRAWS):
        rows = rng.integers(0, len(labels), ROWS)
        counts = selective_thresholds.count_answers(
            probabilities[rows], labels[rows], step
        )
        for target in TARGETS:
            one = selective_thresholds.find_threshold(counts, target)
            if one.value is not None:
                found += 1
                broken[target] += whole[int(np.searchsorted(table, one.value))] < target
    # 5 % of the draws may; five standard deviations more would be a wrong method.
    limit = DRAWS * 0.05 + 5 * np.sqrt(DRAWS * 0.05 * 0.95)
    assert max(broken.values()) <= limit and found > DRAWS / 2


def test_more_rows_answer_more():
    probabilities, labels = draw_images(20_000)
    shares = []
    for rows in (300, 3000, 20_000):
        counts = selective_thresholds.count_answers(
            probabilities[:rows], labels[:rows], 0.0
        )
        one = selective_thresholds.find_threshold(counts, 0.95)
        assert one.selective_accuracy > 0.95
        shares.append(one.coverage)
    assert shares == sorted(shares) and shares[-1] - shares[0] > 0.02


@pytest.mark.parametrize("step", [0.0, UINT8, 1 / 32768])
def test_thresholds_are_outputs_of_the_file(step):
    table = selective_thresholds.candidate_thresholds(step)
    numbers = table / (step or 1 / 32768)
    assert not np.signbit(table[0])
    assert table[0] == 0 and table[-1] < 1 and (np.diff(table) > 0).all()
    assert (numbers == numbers.round()).all()
    assert (table.astype(np.float32) == table).all()
    for zero_point in (0, -128):
        found = selective_thresholds.quantize(0.75, step or 1, zero_point)
        assert step == 0 or (found - zero_point) * step == 0.75
    assert selective_thresholds.quantize(0.75, step, None) is None
    assert selective_thresholds.quantize(None, step, 0) is None


def test_ties_at_the_threshold_are_answered():
    probabilities = np.repeat([[0.75, 0.25], [0.5, 0.5]], 200, axis=0)
    labels = np.repeat([0, 1], 200)  # a tie goes to class 0, which is wrong here
    counts = selective_thresholds.count_answers(probabilities, labels, UINT8)
    at = int(np.searchsorted(counts.thresholds, 0.75))
    assert counts.thresholds[at] == 0.75
    assert counts.answered[at] == 200 and counts.wrong[at] == 0
    assert counts.answered[0] == 400 and counts.wrong[0] == 200


def made_counts(answered: list[int], wrong: list[int], rows: int) -> AnswerCounts:
    """Counts at the whole table: those given up to the first start, nothing above."""
    table = selective_thresholds.candidate_thresholds(UINT8)
    start = int(np.searchsorted(table, 0.9))
    counts = np.zeros((2, len(table)), int)
    counts[0, : start + 1], counts[1, : start + 1] = answered[0], wrong[0]
    for place, pair in enumerate(zip(answered[1:], wrong[1:], strict=True)):
        counts[:, start - place - 1] = pair
    return AnswerCounts(rows, table, *counts)


def test_a_threshold_that_fails_is_not_passed_over():
    """The second one below fails, so that what is below it is never reached."""
    counts = made_counts([500, 520, 540], [0, 0, 100], 1000)
    one = selective_thresholds.find_threshold(counts, 0.95)
    start = int(np.searchsorted(counts.thresholds, 0.9))
    assert one.value == counts.thresholds[start - 1]
    assert (one.coverage, one.selective_accuracy) == (0.52, 1.0)


def test_where_no_threshold_is_good_enough_none_is_given():
    probabilities, labels = draw_images(60)
    counts = selective_thresholds.count_answers(probabilities, labels, UINT8)
    one = selective_thresholds.find_threshold(counts, 0.99)
    assert one.value is one.coverage is one.selective_accuracy is None
    assert one.guarantee.startswith("None: on the 60 validation rows no threshold")
    assert "rows are needed for that, all of them right" in one.guarantee
    assert selective_thresholds.measure(probabilities, labels, one) is None
    always_wrong = selective_thresholds.count_answers(
        np.tile([0.9, 0.1], (5000, 1)), np.ones(5000, int), 0.0
    )
    assert selective_thresholds.find_threshold(always_wrong, 0.9).value is None


def test_a_network_that_is_always_right_answers_everything():
    probabilities = np.tile([0.999, 0.001], (1000, 1))
    counts = selective_thresholds.count_answers(probabilities, np.zeros(1000, int), 0.0)
    one = selective_thresholds.find_threshold(counts, 0.99)
    assert one.value == 0 and one.coverage == 1
    test = selective_thresholds.measure(probabilities, np.zeros(1000, int), one)
    assert test["answered"] == 1000 and test["selective_accuracy"] == 1


def test_what_answers_nothing_has_no_accuracy():
    probabilities, labels = np.tile([0.6, 0.4], (50, 1)), np.zeros(50, int)
    one = selective_thresholds.Threshold(0.9, 0.75, 0.1, 1.0, "")
    test = selective_thresholds.measure(probabilities, labels, one)
    assert test["coverage"] == 0 and test["selective_accuracy"] is None
    assert test["selective_accuracy_interval"] == [0.0, 1.0]


@pytest.mark.parametrize("target", [0.0, 1.0, float("nan"), -1.0])
def test_a_target_is_within_0_to_1(target):
    counts = made_counts([10], [0], 10)
    with pytest.raises(ValueError, match="not a selective accuracy"):
        selective_thresholds.find_threshold(counts, target)
