"""Label errors: what was planted is found, as often as by cleanlab."""

import numpy as np
import pytest

from eval.inspection.label_errors import find_label_errors


def make_problem(seed: int, classes: int, signal: float):
    """Probabilities of 1,000 images, labels of which 10 are wrong, and those 10."""
    drawn = np.random.default_rng(seed)
    true = drawn.integers(0, classes, 1000)
    logits = drawn.normal(0, 1, (1000, classes))
    logits[np.arange(1000), true] += signal
    powers = np.exp(1.2 * logits)
    flipped = drawn.choice(1000, 10, replace=False)
    labels = true.copy()
    labels[flipped] = (true[flipped] + drawn.integers(1, classes, 10)) % classes
    return powers / powers.sum(1, keepdims=True), labels, flipped


# What cleanlab 2.9.0 finds of the planted ten: filter.find_label_issues(labels, p).
CLEANLAB = {
    (1, 3, 3.0): [50, 109, 269, 661, 733, 769, 783, 864, 978],
    (2, 10, 4.0): [13, 78, 376, 413, 774, 847, 886, 984],
    (3, 5, 2.5): [17, 73, 91, 196, 476, 560, 678, 797, 913],
}


@pytest.mark.parametrize("problem", CLEANLAB)
def test_every_error_that_cleanlab_finds_is_found(problem):
    probabilities, labels, flipped = make_problem(*problem)
    found = find_label_errors(probabilities, labels)
    assert set(CLEANLAB[problem]) <= set(found.tolist())
    right = len(set(found.tolist()) & set(flipped.tolist()))
    assert right >= len(CLEANLAB[problem]) and len(found) < 150


def test_the_likeliest_come_first():
    probabilities, labels, flipped = make_problem(1, 3, 5.0)
    found = find_label_errors(probabilities, labels)
    assert set(found[:6].tolist()) <= set(flipped.tolist())


def test_right_labels_and_classes_without_rows_give_none():
    labels = np.arange(60) % 3
    sure = np.full((60, 4), 0.01)
    sure[np.arange(60), labels] = 0.97
    assert len(find_label_errors(sure, labels)) == 0
    assert len(find_label_errors(sure[:0], labels[:0])) == 0
