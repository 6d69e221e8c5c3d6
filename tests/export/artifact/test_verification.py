"""What is said of a file beside its checkpoint, and which files pass."""

import numpy as np
import pytest

from eval.predictors import engine
from eval.predictors.outputs import Output
from eval.predictors.predictor import Predictor
from export.artifact.number_formats import Scheme
from export.artifact.verification import (
    Gate,
    VerificationSet,
    compare,
    estimate_duration,
    predict,
)
from trainer.errors import TrainingFailed
from trainer.monitoring.progress import duration

CLASSES = 4


def random_set(count: int = 400) -> VerificationSet:
    rng = np.random.default_rng(1)
    reference = rng.dirichlet(np.ones(CLASSES), count)
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    images = np.zeros((count, 2, 2, 3), np.uint8)
    return VerificationSet(images, labels, tuple("abcd"), reference, sampled=False)


def flipped(expected: VerificationSet, rows: list[int]) -> np.ndarray:
    """The reference, but with first and last place changed in `rows`."""
    answers = expected.reference.copy()
    for row in rows:
        top, last = answers[row].argmax(), answers[row].argmin()
        answers[row, [top, last]] = answers[row, [last, top]]
    return answers


def test_the_checkpoint_beside_itself_differs_in_nothing():
    expected = random_set()
    test = compare(expected, expected.reference, 1e-30)
    assert test["flips"] == test["largest_difference"] == test["accuracy_drop"] == 0
    assert test["agreement"] == test["mcnemar"]["p_value"] == 1
    assert test["checkpoint"].items() <= test.items()
    for scheme in (None, *Scheme):
        Gate.for_scheme(scheme, 0.0).enforce(test)


@pytest.mark.parametrize("count", [1, 7, 40])
def test_flips_agreement_and_mcnemar_count_the_same_rows(count):
    expected = random_set()
    rows = list(range(count))
    test = compare(expected, flipped(expected, rows), 1e-30)
    assert test["flips"] == count
    assert test["agreement"] == pytest.approx(1 - count / 400)
    changed = test["mcnemar"]["only_first"] - test["mcnemar"]["only_second"]
    assert test["accuracy_drop"] == pytest.approx(changed / 400)
    assert test["accuracy"] == pytest.approx(
        test["checkpoint"]["accuracy"] - test["accuracy_drop"]
    )


def test_one_flip_fails_float32_and_a_saved_model_but_not_int8():
    expected = random_set()
    test = compare(expected, flipped(expected, [3]), 1e-30)
    for scheme in (None, Scheme.FLOAT32, Scheme.FLOAT16):  # 0.2 % of 400: none
        with pytest.raises(TrainingFailed, match="1 of 400 images change class"):
            Gate.for_scheme(scheme, 1.0).enforce(test)
    Gate.for_scheme(Scheme.INT8, 0.01).enforce(test)
    Gate.for_scheme(Scheme.FLOAT16, 0.0).enforce(compare_many(flips=2))


def compare_many(flips: int):
    expected = random_set(1000)
    return compare(expected, flipped(expected, list(range(flips))), 1e-30)


def losing(images: int, lost: int) -> dict:
    """The test of a file that gets `lost` right answers of `images` wrong."""
    expected = random_set(images)
    right = np.flatnonzero(expected.reference.argmax(1) == expected.labels)[:lost]
    return compare(expected, flipped(expected, right.tolist()), 1e-30)


def test_a_drop_at_the_limit_passes_and_above_it_fails():
    test = losing(400, 8)
    assert test["accuracy_drop"] == 0.02
    for scheme in (Scheme.INT8, Scheme.INT16X8, Scheme.DYNAMIC):
        Gate.for_scheme(scheme, 0.02).enforce(test)
        with pytest.raises(
            TrainingFailed, match=r"drops by 0.0200 \(95 %: .* limit: 0.019"
        ):
            Gate.for_scheme(scheme, 0.019).enforce(test)


@pytest.mark.parametrize(("images", "lost"), [(10, 1), (60, 1), (60, 3), (400, 1)])
def test_a_drop_that_chance_gives_passes(images, lost):
    test = losing(images, lost)
    low, high = test["accuracy_drop_interval"]
    assert low < 0 < test["accuracy_drop"] < high
    Gate.for_scheme(Scheme.INT8, 0.0).enforce(test)


def test_a_real_drop_fails_on_few_images_too():
    with pytest.raises(TrainingFailed, match="drops by 0.1667"):
        Gate.for_scheme(Scheme.INT8, 0.01).enforce(losing(60, 10))


def wrong(images: int, changed: int) -> dict:
    """A file that gives another wrong class for `changed` images: no accuracy lost."""
    reference = np.tile([0.1, 0.5, 0.2, 0.2], (images, 1))
    labels = np.zeros(images, np.int32)
    pixels = np.zeros((images, 2, 2, 3), np.uint8)
    answers = reference.copy()
    answers[:changed] = [0.1, 0.2, 0.5, 0.2]
    expected = VerificationSet(pixels, labels, tuple("abcd"), reference, sampled=False)
    return compare(expected, answers, 1e-30)


@pytest.mark.parametrize("scheme", [Scheme.INT8, Scheme.INT16X8, Scheme.DYNAMIC])
def test_other_answers_fail_even_where_accuracy_stays(scheme):
    for images, changed in ((500, 500), (500, 80), (20, 20)):
        test = wrong(images, changed)
        assert test["accuracy_drop"] == 0
        with pytest.raises(
            TrainingFailed, match=r"of answers are the checkpoint's, limit: 90"
        ):
            Gate.for_scheme(scheme, 1.0).enforce(test)
    for images, changed in ((500, 50), (500, 0), (20, 3)):
        Gate.for_scheme(scheme, 0.0).enforce(wrong(images, changed))


class Timed:
    """A model whose image takes so many seconds on a clock of its own."""

    shape, classes, step = (2, 2, 3), CLASSES, 0.0

    def __init__(self, secs: float) -> None:
        self.secs, self.clock, self.count = secs, 100.0, 0

    def __call__(self, images, tick):
        self.clock += 3 + self.secs * len(images)  # to open a file takes time, too
        self.count += len(images)
        return np.full((len(images), CLASSES), 1 / CLASSES)


@pytest.mark.parametrize("secs", [0.001, 0.5, 20.0])
def test_a_long_verification_is_foretold(secs):
    model, expected = Timed(secs), random_set(2000)
    predictor = Predictor("timed", model, Output.PROBABILITIES)
    said = estimate_duration(expected, predictor, "model", now=lambda: model.clock)
    assert model.count < 10
    whole = secs * 2000 / engine.cores()
    if whole < 60:
        assert said is None
    else:
        assert f"takes about {duration(whole)}" in said and "verify_sample=" in said


def test_a_short_one_is_not_timed_at_all():
    model = Timed(100)
    predictor = Predictor("timed", model, Output.PROBABILITIES)
    assert (
        estimate_duration(random_set(20), predictor, "model", now=lambda: model.clock)
        is None
    )
    assert model.count == 0


def test_the_worst_class_is_named():
    expected = random_set()
    right = expected.reference.argmax(1) == expected.labels
    rows = np.flatnonzero(right & (expected.labels == 2))[:5]
    test = compare(expected, flipped(expected, rows.tolist()), 1e-30)
    support = int((expected.labels == 2).sum())
    assert test["worst_class_drop"] == {"class": "c", "drop": 5 / support}


def test_answers_that_are_no_probabilities_fail():
    class Broken:
        shape, classes, step = (2, 2, 3), CLASSES, 0.0

        def __call__(self, images, tick):
            return np.full((len(images), CLASSES), np.nan)

    with pytest.raises(TrainingFailed, match="finite"):
        predict(
            random_set(), Predictor("broken", Broken(), Output.PROBABILITIES), "broken"
        )
