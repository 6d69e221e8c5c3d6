"""Evaluation: every image counts once, ties go down, intervals by the book."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.nets import options_of_width
from trainer.config.enums import Input
from trainer.config.schema import Config, ModelConfig
from trainer.models import builder, registry
from trainer.models import evaluator as models_evaluator
from trainer.models.evaluator import (
    BATCH,
    MEMORY,
    Evaluator,
    batch_size,
    compute_metrics,
    live_bytes,
)
from trainer.models.intervals import wilson_interval
from trainer.training.estimate import ResourceEstimate


def test_wilson_by_hand():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson_interval(10, 10)[1] == 1.0


@given(st.integers(1, 10_000), st.data())
def test_wilson_has_the_bits_of_scipy(total, data):
    from scipy import stats

    correct = data.draw(st.integers(0, total))
    found = stats.binomtest(correct, total).proportion_ci(0.95, "wilson")
    rate = correct / total
    wanted = (min(rate, float(found.low)), max(rate, float(found.high)))
    assert wilson_interval(correct, total) == wanted


@given(st.integers(1, 10_000), st.data())
def test_wilson_holds_the_rate_and_mirrors(total, data):
    correct = data.draw(st.integers(0, total))
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    mirrored = wilson_interval(total - correct, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("correct", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(correct, total):
    with pytest.raises(ValueError, match="not a proportion"):
        wilson_interval(correct, total)


def test_scores_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2]]))
    scores = compute_metrics(logits, np.array([0, 1, 1]))
    assert scores.correct == 1  # the tie of the last goes to class 0
    assert scores.loss == pytest.approx(-np.log([0.5, 0.2, 0.4]).mean())
    np.testing.assert_array_equal(scores.confusion, [[1, 0, 0], [1, 0, 1], [0, 0, 0]])


def test_large_logits_do_not_overflow():
    scores = compute_metrics(np.array([[1e4, -1e4]], np.float32), np.array([1]))
    assert scores.loss == pytest.approx(2e4)


def test_logits_that_are_not_finite_are_refused_with_their_row():
    logits = np.zeros((5, 3), np.float32)
    logits[3, 1] = np.nan
    with pytest.raises(ValueError, match="example 3"):
        compute_metrics(logits, np.zeros(5, int))


def test_the_tail_is_padded_and_counts():
    evaluator = Evaluator(
        ModelConfig(name="cnn", kwargs={"width": 0.25}),
        image_shape=(16, 16, 3),
        num_classes=4,
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


def body(name="cnn", width=1.0, side=32, channels=3):
    shape = (side, side, channels)
    config = ModelConfig(name=name, kwargs=options_of_width(name, width))
    return builder.build_model(config, image_shape=shape, num_classes=10).get_layer(
        "body"
    )


@pytest.mark.parametrize("name", registry.MODELS)
@pytest.mark.parametrize(("width", "side"), [(0.25, 32), (1, 32), (2, 32), (1, 16)])
def test_small_images_are_answered_five_hundred_at_once(name, width, side):
    assert batch_size(body(name, width, side)) == BATCH == 500


@pytest.mark.parametrize(
    ("name", "width", "side"),
    [("cnn", 1, 300), ("resnet8", 4, 300), ("speednet", 1, 96), ("resnet8", 16, 32)],
)
def test_large_images_and_networks_take_a_gibibyte(name, width, side):
    made = body(name, width, side)
    size = batch_size(made)
    assert 1 <= size < BATCH
    assert size * live_bytes(made) <= MEMORY < (size + 1) * live_bytes(made)


def test_one_image_is_answered_whatever_it_takes():
    assert batch_size(body("resnet8", 4, 1600)) == 1


def test_a_tail_of_a_small_batch_is_answered_as_the_rest(monkeypatch):
    monkeypatch.setattr(models_evaluator, "MEMORY", 2**20)
    made = Evaluator(
        ModelConfig(name="cnn", kwargs={"width": 0.25}),
        image_shape=(16, 16, 1),
        num_classes=3,
    )
    assert 1 < made.batch < 100
    images = np.random.default_rng(0).integers(0, 256, (101, 16, 16, 1), np.uint8)
    heard = []
    answers = made.logits(images, heard.append)
    assert answers.shape == (101, 3)
    assert sum(heard) == 101
    np.testing.assert_array_equal(answers[-3:], made.logits(images[-3:]))


class Held:
    """As much of Data as a forecast looks at."""

    def __init__(self, side: int, count: int = 100) -> None:
        self.image_shape = (side, side, 3)
        self.train = self.test = self
        self.images = np.zeros((count, 1), np.uint8)
        self.held_out = np.arange(10)


class OneDevice:
    local_devices, replicas = ("/cpu:0",), 1


def forecast(held, **settings) -> tuple[ResourceEstimate, str]:
    config = Config(**settings)
    made = body(config.model.name, side=held.image_shape[0])
    found = ResourceEstimate.from_shapes(made, config, OneDevice(), held, Input.DEVICE)
    return found, found.remedy(config, OneDevice())


def test_a_forecast_counts_evaluation_and_pictures():
    found, _ = forecast(Held(300), global_batch=1)
    assert found.passing["evaluation"] > found.passing["training"]
    assert found.memory_bytes > 2**30 + 0.9 * MEMORY
    assert found.passing["pictures"] > 32 * 300 * 300 * 3


@pytest.mark.parametrize(
    ("largest", "batch", "named"),
    [
        ("evaluation", 256, "lower model_kwargs=width=1.0, or use smaller images"),
        ("training", 1024, "lower global_batch=1024"),
        ("training", 1, "lower model_kwargs=width=1.0"),
        ("pictures", 256, "use smaller images"),
        ("data", 256, "set input=host, use a smaller data set"),
        ("weights", 256, "lower model_kwargs=width=1.0"),
    ],
)
def test_advice_names_what_matters(largest, batch, named):
    sizes = dict.fromkeys(("data", "weights", "training", "evaluation", "pictures"), 1)
    sizes[largest] = 5 * 2**30
    kept = {name: sizes.pop(name) for name in ("data", "weights")}
    said = ResourceEstimate(1, kept, sizes, 0).remedy(
        Config(global_batch=batch), OneDevice()
    )
    assert said.startswith(f"{largest} takes 5.0 GiB of it: ")
    assert named in said


def test_a_large_batch_is_what_to_lower():
    assert "lower global_batch=1024" in forecast(Held(32), global_batch=1024)[1]
