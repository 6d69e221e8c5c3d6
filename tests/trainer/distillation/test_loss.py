"""A student learns from what its teacher says of the very views it sees."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.support import compiled_steps
from tests.support.eval_models import softmax
from tests.support.gpu_kernels import without_gpu_kernel
from trainer.config.enums import Augment, Input, Precision
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, DataConfig, DistillationConfig
from trainer.data import dataset
from trainer.data.sampler import Sampler
from trainer.data.split import Split
from trainer.distillation import loss
from trainer.distillation.targets import DistillationTargets
from trainer.rng import RandomStream
from trainer.rundir.weights import weights_sha256
from trainer.training import network, timetable

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(0, 3, (6, 10))
TAUGHT = GENERATOR.normal(0, 3, (6, 10))
LOSSES = GENERATOR.uniform(0, 2, 6)
LEARNT = np.arange(1, compiled_steps.COUNT, 2, dtype=np.int32)


def teacher(**settings) -> DistillationConfig:
    return DistillationConfig(teacher_sha256="0" * 64, **settings)


def blend(how: DistillationConfig, logits=LOGITS) -> np.ndarray:
    arrays = (tf.constant(x) for x in (LOSSES, logits, TAUGHT))
    return loss.distillation_loss(*arrays, how=how).numpy()


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_the_loss_is_its_definition(temperature):
    p, q = softmax(TAUGHT / temperature), softmax(LOGITS / temperature)
    divergence = (p * np.log(p / q)).sum(axis=1)
    expected = 0.3 * LOSSES + 0.7 * temperature**2 * divergence
    found = blend(teacher(weight=0.7, temperature=temperature))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_student_that_says_the_same_has_only_the_labels_to_learn():
    same = TAUGHT + 4.0  # a constant is no difference
    found = blend(teacher(weight=0.7), same)
    np.testing.assert_allclose(found, (1 - 0.7) * LOSSES, atol=1e-12)
    np.testing.assert_array_equal(blend(teacher(weight=0.0)), LOSSES)


def whole() -> dataset.Dataset:
    names = tuple("abcdefghij")
    images, labels = compiled_steps.IMAGES, compiled_steps.LABELS
    held = Split(images, labels, (), names, "0")
    return dataset.Dataset("x", held, held, LEARNT, LEARNT[:0])


def config(**settings) -> Config:
    return Config(
        model=compiled_steps.PLAIN,
        data=DataConfig(augment=Augment.FLIP_CROP, crop_pixels=1),
        global_batch=32,
        train_steps=100,
        **settings,
    )


@functools.cache
def run(cluster, settings: Config, count: int = 10, source: Input = Input.DEVICE):
    """The state after `count` steps, their metrics, and the trainer."""
    planned = timetable.build_timetable(settings, RunConfig(), len(LEARNT))
    with compiled_steps.small_networks():
        built = network.build_network(
            settings, RunConfig(input=source), cluster, whole(), planned
        )
    state, images, trainer = built.state, built.images, built.train_step
    if settings.distillation.enabled:
        answers = np.random.default_rng(1).normal(0, 3, images.shape_of_answers)
        images.teach(answers.astype(np.float16))
    rows = Sampler(LEARNT, global_batch=32, seed=0).block(0, count)
    outcome = trainer(0, rows, np.full(count, 1e-3, np.float32))
    return state, outcome.metrics, trainer


def test_any_number_of_replicas_is_taught_the_same_in_float64(replicas):
    settings = config(precision=Precision.FLOAT64, distillation=teacher())
    _, losses, _ = run(replicas(1), settings)
    _, shared, trainer = run(replicas(2), settings)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)
    assert not without_gpu_kernel(trainer.graph)
    _, alone, _ = run(replicas(1), config())
    assert np.abs(alone - losses).max() > 0.1


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "precision",
    [Precision.FLOAT32, pytest.param(Precision.MIXED_BFLOAT16, marks=pytest.mark.slow)],
)
def test_a_teacher_of_no_weight_changes_no_bit(replicas, precision, count):
    alone, _, _ = run(replicas(count), config(precision=precision))
    silent = config(precision=precision, distillation=teacher(weight=0.0))
    taught, _, _ = run(replicas(count), silent)
    assert taught.facts()["weights_sha256"] == alone.facts()["weights_sha256"]


def test_the_answer_picked_is_that_of_the_row_in_its_view(replicas):
    images = DistillationTargets(config(distillation=teacher()), whole(), replicas(1))
    views, count, classes = images.shape_of_answers
    assert (views, count, classes) == (18, len(LEARNT), 10)
    answers = np.arange(views * count).reshape(views, count, 1) % 2039
    images.teach(np.repeat(answers, classes, axis=2).astype(np.float16))
    here = RandomStream(0, tf.constant(3, tf.int64), tf.constant(32, tf.int64))
    places = GENERATOR.integers(0, count, 32)
    local = tf.nest.map_structure(
        lambda x: replicas(1).strategy.experimental_local_results(x)[0], images.targets
    )
    rows = LEARNT[places]
    labels, logits = images.gather_targets(local, tf.constant(rows), here)
    view = images.views.sample_views(here, 32).numpy()
    np.testing.assert_array_equal(logits[:, 0], answers[view, places, 0])
    np.testing.assert_array_equal(labels, compiled_steps.LABELS[rows])


@pytest.mark.parametrize(
    ("count", "shards"),
    [
        (2, 4),
        pytest.param(2, None, marks=pytest.mark.slow),
        pytest.param(1, 4, marks=pytest.mark.slow),
    ],
)
def test_the_teacher_teaches_images_of_the_host_alike(replicas, count, shards):
    settings = config(distillation=teacher(), elastic_shards=shards)
    state, losses, _ = run(replicas(count), settings, 4)
    other, found, _ = run(replicas(count), settings, 4, Input.HOST)
    np.testing.assert_array_equal(found, losses)
    assert weights_sha256(other.arrays()) == weights_sha256(state.arrays())
