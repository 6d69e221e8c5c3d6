"""Temperature keeps the order of classes and finds the factor that was put in."""

import numpy as np
import pytest
from scipy import special

from eval.metrics import calibration, classification


def sharpened(by: float, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Answers `by` times too sure of themselves, and labels drawn from honest ones."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(rows, 4)) * 2
    honest = special.softmax(logits, axis=1)
    labels = (honest.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return special.softmax(logits * by, axis=1), labels


@pytest.mark.parametrize("by", [0.4, 1.0, 3.0])
def test_the_fit_finds_what_was_done(by):
    probabilities, labels = sharpened(by)
    assert calibration.fit_temperature(probabilities, labels) == pytest.approx(
        by, rel=0.05
    )


def test_the_fit_is_the_best_on_its_rows():
    probabilities, labels = sharpened(2.5, rows=500)
    best = calibration.fit_temperature(probabilities, labels)
    at = [
        classification.nll(
            calibration.apply_temperature(probabilities, best * factor), labels
        )
        for factor in (0.99, 1.0, 1.01)
    ]
    assert at[1] == min(at)


def test_softening_keeps_every_prediction():
    probabilities, _ = sharpened(1.0, rows=500)
    for value in (0.1, 1.0, 7.0):
        softer = calibration.apply_temperature(probabilities, value)
        assert (softer.argmax(axis=1) == probabilities.argmax(axis=1)).all()
        np.testing.assert_allclose(softer.sum(axis=1), 1)


def test_temperature_one_is_the_identity():
    probabilities = np.array([[0.5, 0.0, 0.49]])  # a quantised row need not sum to 1
    assert calibration.apply_temperature(probabilities, 1.0) is probabilities


def test_softening_equals_dividing_the_logits():
    logits = np.random.default_rng(1).normal(size=(50, 3)) * 5
    ours = calibration.apply_temperature(special.softmax(logits, axis=1), 1.7)
    np.testing.assert_allclose(ours, special.softmax(logits / 1.7, axis=1))


def answers(right: int, wrong: int, sure: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Equally sure answers of three classes, so many of them right."""
    labels = np.arange(right + wrong) % 3
    said = np.r_[labels[:right], (labels[right:] + 1) % 3]
    return np.eye(3)[said] * (sure - (1 - sure) / 2) + (1 - sure) / 2, labels


def doubt(probabilities, labels) -> str | None:
    return calibration.reason_to_reject(
        probabilities, labels, calibration.fit_temperature(probabilities, labels)
    )


def test_a_perfect_model_ends_at_the_bound():
    assert calibration.fit_temperature(*answers(30, 0)) < 0.1


@pytest.mark.parametrize(
    ("right", "wrong"),
    [(30, 0), (5000, 0), (30, 1), (140, 9), (0, 30), (9, 300), (1, 1)],
)
def test_rows_of_one_kind_tell_no_temperature(right, wrong):
    found = doubt(*answers(right, wrong))
    assert found.startswith(f"{min(right, wrong)} of {right + wrong:,} validation rows")


@pytest.mark.parametrize(
    ("right", "wrong"), [(30, 10), (142, 14), (14, 142), (5000, 10)]
)
def test_enough_rows_of_both_kinds_do(right, wrong):
    assert doubt(*answers(right, wrong)) is None or right < wrong


@pytest.mark.parametrize("sure", [0.36, 0.99])
def test_an_optimum_at_a_bound_is_none(sure):
    """Answers that say nothing about the label: the flatter the better."""
    labels = np.arange(300) % 3
    told = np.roll(labels, 1)  # always the wrong one, or a third of the time right
    told[:100] = labels[:100]
    probabilities = np.eye(3)[told] * (sure - (1 - sure) / 2) + (1 - sure) / 2
    assert doubt(probabilities, labels).startswith("no temperature within 0.05 to 20")
