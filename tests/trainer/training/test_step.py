"""Laws of the compiled step: replicas, steps per call, clipping, scale, GPU kernels."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.support.compiled_steps import (
    BLOCK,
    CNN,
    COUNT,
    GENERATOR,
    PLAIN,
    RESNET8,
    assemble,
    config,
    fingerprint,
    run,
    trace_step,
)
from tests.support.gpu_kernels import without_gpu_kernel
from trainer.config.enums import Augment, OptimizerName, Precision
from trainer.config.schema import Config
from trainer.data.device_dataset import DeviceDataset, gather_images
from trainer.data.sampler import Sampler


@pytest.mark.parametrize(
    ("model", "count"),
    [
        pytest.param(PLAIN, 1, marks=pytest.mark.slow),
        (PLAIN, 2),
        pytest.param(BLOCK, 1, marks=pytest.mark.slow),
        (BLOCK, 2),
    ],
)
def test_steps_per_call_do_not_change_a_bit(replicas, model, count):
    settings = config(model)
    seen = {fingerprint(run(replicas(count), settings, 20, k)[0]) for k in (1, 7, 20)}
    assert len(seen) == 1


@pytest.mark.parametrize(
    "model",
    [
        PLAIN,
        pytest.param(BLOCK, marks=pytest.mark.slow),
        pytest.param(CNN, marks=pytest.mark.slow),
        pytest.param(RESNET8, marks=pytest.mark.slow),
    ],
    ids=["plain", "block", "cnn", "resnet8"],
)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(replicas, model):
    one = fingerprint(run(replicas(1), config(model), 5)[0])
    step = trace_step.__wrapped__
    two = fingerprint(run(replicas(1), config(model), 5, traced=step)[0])
    other = fingerprint(run(replicas(1), config(model, seed=1), 5)[0])
    assert one == two
    assert one[0] != other[0]


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_any_number_of_replicas_learns_the_same_in_float64(replicas, count):
    settings = config(precision=Precision.FLOAT64)
    first, losses = run(replicas(1), settings, 30, 15)
    state, shared = run(replicas(count), settings, 30, 15)
    assert state.rows_digest == first.rows_digest
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_any_number_of_replicas_starts_the_same_in_float32(replicas, count):
    _, losses = run(replicas(1), config(), 5)
    _, shared = run(replicas(count), config(), 5)
    np.testing.assert_allclose(shared[:, 0], losses[:, 0], rtol=0, atol=1e-5)


def test_synchronised_batch_norm_makes_replicas_equal_and_only_that(replicas):
    synchronised = dataclasses.replace(BLOCK, sync_batch_norm=True)
    settings = config(synchronised, precision=Precision.FLOAT64)
    first, losses = run(replicas(1), settings, 10)
    state, shared = run(replicas(2), settings, 10)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)
    for one, other in zip(
        first.model.variables, state.model.variables, strict=True
    ):  # moving statistics among them
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
    own = config(BLOCK, precision=Precision.FLOAT64)
    _, apart = run(replicas(2), own, 10)
    assert np.abs(apart - losses).max() > 1e-6


def test_moving_statistics_are_the_mean_over_replicas(replicas):
    settings = config(BLOCK, precision=Precision.FLOAT64)
    state, _ = run(replicas(2), settings, 3)
    halves = dataclasses.replace(settings, elastic_shards=2)
    alone, _ = run(replicas(1), halves, 3)  # has the mean over its two shards
    for variable, mean in zip(
        state.model.non_trainable_variables,
        alone.model.non_trainable_variables,
        strict=True,
    ):
        one, two = variable.value.values
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, mean, rtol=0, atol=1e-9)


def test_the_gradient_is_clipped_after_it_is_summed(replicas):
    settings = config(
        optimizer=OptimizerName.SGD,
        precision=Precision.FLOAT64,
        learning_rate=0.1,
        clip_norm=1e-3,
    )
    first, before = run(replicas(1), settings, 3)
    assert (before[:, 2] > 1e-3).all()  # the norm is reported unclipped
    shared, _ = run(replicas(2), settings, 3)
    for one, other in zip(first.model.variables, shared.model.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def half(precision: Precision) -> Config:
    return config(precision=precision, augment=Augment.NONE, learning_rate=3e-3)


@pytest.mark.parametrize(
    "precision", [Precision.MIXED_BFLOAT16, Precision.MIXED_FLOAT16]
)
def test_half_precision_learns(replicas, precision):
    settings = half(precision)
    _, metrics = run(replicas(2), settings, 60)
    assert np.isfinite(metrics[:, 0]).all()
    assert metrics[-10:, 0].mean() < metrics[:5, 0].mean() - 0.3


def test_loss_scaling_survives_an_infinity_on_one_replica_only(replicas, monkeypatch):
    state, trainer = assemble(replicas(2), half(Precision.MIXED_FLOAT16))
    exact = trainer._gradients

    def infinite_at_step_1_on_replica_1(images, labels, stream):
        sums, gradients, statistics = exact(images, labels, stream)
        hit = tf.cast((stream.step == 1) & (stream.first > 0), gradients[0].dtype)
        spoilt = gradients[0] + tf.math.divide_no_nan(hit, 1 - hit) + hit * np.inf
        spoilt = tf.where(hit > 0, spoilt, gradients[0])
        return sums, [spoilt, *gradients[1:]], statistics

    monkeypatch.setattr(trainer, "_gradients", infinite_at_step_1_on_replica_1)
    monkeypatch.setattr(trainer, "_compiled", None)  # other tests use this trainer, too
    trainer.compile()
    rows = Sampler(np.arange(COUNT), global_batch=32, seed=0)
    scales, weights = [], []
    for step in range(3):
        trainer(step, rows.block(step, 1), np.full(1, 1e-3, np.float32))
        scales.append(float(state.optimizer.dynamic_scale.numpy()))
        weights.append([v.numpy() for v in state.model.trainable_variables])
    assert scales[1] == scales[0] / 2  # noticed on both, halved once
    for kept, before in zip(weights[1], weights[0], strict=True):
        np.testing.assert_array_equal(kept, before)  # the step was skipped
    assert all(np.isfinite(w).all() for w in weights[2])
    assert any((a != b).any() for a, b in zip(weights[2], weights[1], strict=True))


@pytest.mark.parametrize(
    ("decay", "atol"),
    [
        # Traced for other laws, too; one average of 5,120 is 2e-7, rounded by 1e-10.
        (0.9, 1e-9),
        pytest.param(0.75, 0, marks=pytest.mark.slow),
    ],
)
def test_averaged_weights_follow_their_definition(replicas, decay, atol):
    settings = config(ema_decay=decay)
    state, trainer = assemble(replicas(2), settings)
    rows = Sampler(np.arange(COUNT), global_batch=32, seed=0)
    average = None
    for step in range(4):
        trainer(step, rows.block(step, 1), np.full(1, 1e-3, np.float32))
        arrays = state.arrays()
        now = arrays["model/classes/kernel"]
        average = now if average is None else decay * average + (1 - decay) * now
        found = arrays["ema/classes/kernel"]
        np.testing.assert_allclose(found, average, rtol=1e-5, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_jit_compile_draws_the_same_and_learns_the_same(replicas, count):
    # resnet8 has no max-pooling, whose gradient XLA cannot repeat bit for bit.
    plain = run(replicas(count), config(RESNET8, deterministic=False), 5)[1]
    settings = config(RESNET8, deterministic=False, jit_compile=True)
    compiled = run(replicas(count), settings, 5)[1]
    np.testing.assert_allclose(compiled[:, 0], plain[:, 0], rtol=0, atol=1e-4)


def test_packed_rows_are_gathered_exactly():
    images = GENERATOR.integers(0, 256, (9, 5, 3, 1), np.uint8)  # 15 bytes: padded

    class OneDevice:
        strategy = tf.distribute.get_strategy()
        local_devices = ("/cpu:0",)

    packed = DeviceDataset(images, np.zeros(9, np.int32), OneDevice())
    rows = tf.constant([8, 0, 3, 3], tf.int32)
    out = gather_images(packed.pixels.words, rows, (5, 3, 1))
    np.testing.assert_array_equal(out, images[[8, 0, 3, 3]])


SGD = {"optimizer": OptimizerName.SGD}
BFLOAT16 = {"precision": Precision.MIXED_BFLOAT16}


@pytest.mark.parametrize(
    "settings",
    [
        config(PLAIN),  # these three are traced for other laws, too
        config(BLOCK),
        half(Precision.MIXED_FLOAT16),
        config(BLOCK, **SGD, **BFLOAT16),
        *(
            pytest.param(settings, marks=pytest.mark.slow)
            for settings in (
                config(PLAIN, **SGD, precision=Precision.MIXED_FLOAT16),
                config(BLOCK, **SGD),
                config(BLOCK, **BFLOAT16),
                *(config(model, **SGD) for model in (CNN, RESNET8)),
                *(config(model, **SGD, **BFLOAT16) for model in (CNN, RESNET8)),
            )
        ),
    ],
    ids=lambda settings: f"{settings.model.name}-{settings.precision.value}",
)
def test_every_operator_of_the_step_has_a_gpu_kernel(replicas, settings):
    """Small networks have each kind of layer; whole ones are slow to trace."""
    _, trainer = assemble(replicas(2), settings)
    assert not without_gpu_kernel(trainer.graph)
