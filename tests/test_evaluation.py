"""Evaluation: every image counts once, ties go down, intervals by the book."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import ModelConfig
from trainer.evaluation import BATCH, Evaluator, score
from trainer.intervals import wilson


def test_wilson_by_hand():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(10, 10)[1] == 1.0


@given(st.integers(1, 10_000), st.data())
def test_wilson_holds_the_rate_and_mirrors(total, data):
    correct = data.draw(st.integers(0, total))
    low, high = wilson(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    mirrored = wilson(total - correct, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("correct", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(correct, total):
    with pytest.raises(ValueError, match="not a proportion"):
        wilson(correct, total)


def test_scores_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2]]))
    scores = score(logits, np.array([0, 1, 1]))
    assert scores.correct == 1  # the tie of the last goes to class 0
    assert scores.loss == pytest.approx(-np.log([0.5, 0.2, 0.4]).mean())
    np.testing.assert_array_equal(scores.confusion, [[1, 0, 0], [1, 0, 1], [0, 0, 0]])


def test_large_logits_do_not_overflow():
    scores = score(np.array([[1e4, -1e4]], np.float32), np.array([1]))
    assert scores.loss == pytest.approx(2e4)


def test_logits_that_are_not_finite_are_refused_with_their_row():
    logits = np.zeros((5, 3), np.float32)
    logits[3, 1] = np.nan
    with pytest.raises(ValueError, match="example 3"):
        score(logits, np.zeros(5, int))


def test_the_tail_is_padded_and_counts():
    evaluator = Evaluator(
        ModelConfig(name="cnn", width=0.25), image_shape=(16, 16, 3), num_classes=4
    )
    images = np.random.default_rng(0).integers(
        0, 256, (BATCH + 37, 16, 16, 3), np.uint8
    )
    logits = evaluator.logits(images)
    assert logits.shape == (BATCH + 37, 4)
    np.testing.assert_array_equal(evaluator.logits(images[BATCH:]), logits[BATCH:])
    np.testing.assert_allclose(logits, evaluator.model(images), atol=1e-5)
    with pytest.raises(ValueError, match="another model"):
        evaluator.load({"classes/kernel": np.zeros(3)})
