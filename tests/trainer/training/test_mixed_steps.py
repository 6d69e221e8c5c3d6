"""Mixed images and labels in the compiled step: replicas, shards, partners, losses."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.support.compiled_steps import (
    IMAGES,
    LABELS,
    assemble,
    config,
    fingerprint,
    run,
    trace_step,
)
from tests.support.gpu_kernels import without_gpu_kernel
from trainer.config.data_config import DataConfig
from trainer.config.enums import Augment, Input, Precision
from trainer.config.schema import Config, DistillationConfig
from trainer.data.augmentation import mixing
from trainer.data.augmentation.pipeline import augment
from trainer.errors import InvalidConfig
from trainer.rng import RandomStream

DATA = DataConfig(
    augment=Augment.FLIP_RESIZED_CROP,
    min_crop_area=0.5,
    color_jitter=0.4,
    randaugment_ops=1,
    mixup=0.4,
    cutmix=1.0,
)
# Of every mixture, without what makes photographs slow to trace.
QUICK = DataConfig(augment=Augment.FLIP_CROP, mixup=0.4, cutmix=1.0)
ELASTIC = 4
# Of one trace with shards are several laws; those of none are the same, and slow.
SHARDS = [ELASTIC, pytest.param(None, marks=pytest.mark.slow)]


def mixing_config(data: DataConfig = DATA, **settings) -> Config:
    return dataclasses.replace(config(**settings), data=data)


@pytest.mark.slow  # shards have the same bits on any number of replicas
def test_any_number_of_replicas_learns_the_same_from_mixtures(replicas):
    settings = mixing_config(precision=Precision.FLOAT64)
    _, losses = run(replicas(1), settings, 4, 4)
    _, shared = run(replicas(2), settings, 4, 4)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)


def test_elastic_shards_give_the_same_bits_from_mixtures(replicas):
    settings = mixing_config(elastic_shards=ELASTIC)
    state, measured = run(replicas(1), settings, 4, 4)
    other, theirs = run(replicas(2), settings, 4, 2)
    assert fingerprint(other) == fingerprint(state)
    np.testing.assert_array_equal(theirs, measured)


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize(
    "data", [QUICK, pytest.param(DATA, marks=pytest.mark.slow)], ids=["quick", "all"]
)
def test_partners_from_the_host_give_the_same_bits(replicas, data, shards):
    settings = mixing_config(data, elastic_shards=shards)
    state, measured = run(replicas(2), settings, 4, 4)
    host = functools.partial(trace_step, source=Input.HOST)
    other, theirs = run(replicas(2), settings, 4, 2, traced=host)
    assert fingerprint(other) == fingerprint(state)
    np.testing.assert_array_equal(theirs, measured)


@pytest.mark.parametrize("shards", SHARDS)
def test_the_step_trains_on_partners_as_they_are_at_their_own_positions(
    replicas, shards
):
    settings = mixing_config(elastic_shards=shards)
    _, trainer = assemble(replicas(1), settings)
    rows = np.arange(100, 132, dtype=np.int32)
    zero = tf.zeros([], tf.int64)
    stream = RandomStream(settings.seed, zero, zero)
    alone = augment(tf.constant(IMAGES[rows]), DATA, stream)
    mixed, _ = mixing.mix(alone, tf.reverse(alone, [0]), DATA, stream)
    np.testing.assert_array_equal(trainer.augmented(rows, 32), mixed)
    np.testing.assert_array_equal(
        trainer.augmented(rows, 5), mixed[:5]
    )  # of another part

    part = RandomStream(settings.seed, zero, zero + 8)
    partners = trainer._partners(tf.constant(rows), part, 8)
    assert partners[0].numpy().tolist() == rows[16:24].tolist()
    assert int(partners[1].first) == 16


def test_the_loss_is_that_of_the_mixture_of_labels(replicas):
    settings = mixing_config(elastic_shards=ELASTIC)
    _, trainer = assemble(replicas(1), settings)
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(6, 10)).astype(np.float32)
    labels, others = LABELS[:6].astype(np.int64), LABELS[6:12].astype(np.int64)
    share = np.array([0, 1, 0.5, 0.25, 0.9, 0.3], np.float32)
    target = share[:, None] * np.eye(10)[labels]
    target += (1 - share[:, None]) * np.eye(10)[others]
    np.testing.assert_allclose(target.sum(axis=1), 1)
    smooth = target * 0.9 + 0.01
    expected = -(smooth * tf.nn.log_softmax(logits).numpy()).sum(axis=1)
    given = tuple(map(tf.constant, (labels, others, share)))
    found = trainer._mean_over_labels(
        lambda *more: trainer._losses(tf.constant(logits), *more), given
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("shards", SHARDS)
def test_every_operator_has_a_gpu_kernel(replicas, shards):
    _, trainer = assemble(replicas(2), mixing_config(elastic_shards=shards))
    assert not without_gpu_kernel(trainer.graph)


@pytest.mark.parametrize("option", ["color_jitter", "mixup", "cutmix"])
def test_a_teacher_is_refused_by_name(option):
    with pytest.raises(
        InvalidConfig, match=f"`teacher` needs .* {option}=0.5 does not"
    ):
        Config(
            data=DataConfig(**{option: 0.5}),
            distillation=DistillationConfig(teacher_sha256="0" * 64),
        )
