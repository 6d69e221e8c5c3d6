"""Balanced accuracy and macro F1: as scikit-learn has them, with honest intervals."""

import numpy as np
import pytest
from sklearn import metrics

from eval.metrics import classification, imbalance


def balance(matrix):
    return imbalance.class_balance(matrix, classification.per_class(matrix))


def draw(rng, sizes, accuracy):
    """A confusion matrix, and the expected one."""
    count = len(sizes)
    share = np.full((count, count), (1 - accuracy) / (count - 1))
    np.fill_diagonal(share, accuracy)
    share *= np.linspace(0.6, 1.4, count)  # some classes are claimed more often
    share /= share.sum(axis=1, keepdims=True)
    drawn = [rng.multinomial(n, p) for n, p in zip(sizes, share, strict=True)]
    return np.array(drawn), share * np.array(sizes)[:, None]


def test_scores_equal_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 300, p=[0.7, 0.2, 0.1, 0])  # class 3 has no images
    answers = np.where(rng.random(300) < 0.6, labels, rng.integers(0, 4, 300))
    found = balance(metrics.confusion_matrix(labels, answers, labels=range(4)))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = metrics.balanced_accuracy_score(labels, answers)
    assert found["balanced_accuracy"] == pytest.approx(expected)
    f1 = metrics.f1_score(labels, answers, average="macro", labels=range(4))
    assert found["macro_f1"] == pytest.approx(f1)
    assert found["class_images"][0] == 0
    assert found["imbalanced"]


@pytest.mark.parametrize(
    ("sizes", "accuracy"),
    [([100] * 10, 0.7), ([1000, 100, 20], 0.85), ([500, 20], 0.9), ([90, 10], 1.0)],
)
def test_intervals_cover_the_true_value(sizes, accuracy):
    rng, covered = np.random.default_rng(1), np.zeros(2)
    for _ in range(300):
        matrix, true = draw(rng, sizes, accuracy)
        found, truth = balance(matrix), [np.mean(np.diag(true) / sizes)]
        truth.append(np.mean(2 * np.diag(true) / (true.sum(axis=0) + true.sum(axis=1))))
        for index, name in enumerate(("balanced_accuracy", "macro_f1")):
            low, high = found[f"{name}_interval"]
            assert 0 <= low <= found[name] <= high <= 1
            covered[index] += low - 1e-12 <= truth[index] <= high + 1e-12
    assert (covered / 300 >= 0.9).all(), covered


@pytest.mark.parametrize(("largest", "expected"), [(30, False), (31, True)])
def test_more_than_three_times_the_smallest_is_imbalanced(largest, expected):
    assert balance(np.diag([10, largest]))["imbalanced"] is expected
