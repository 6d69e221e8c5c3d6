"""Layers of noise: distributions, axes, and each replica's part of the same numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models import context, layers
from trainer.rng import RandomStream

LAYERS = {
    "Dropout": lambda name: layers.Dropout(0.3, name=name),
    "AlphaDropout": lambda name: layers.AlphaDropout(0.3, name=name),
    "GaussianDropout": lambda name: layers.GaussianDropout(0.3, name=name),
    "GaussianNoise": lambda name: layers.GaussianNoise(0.5, name=name),
    "StochasticDepth": lambda name: layers.StochasticDepth(0.3, name=name),
}
X = np.random.default_rng(0).normal(size=(32, 8, 8, 24)).astype(np.float32)


def disturbed(layer, x, first=0, step=0) -> np.ndarray:
    layer(keras.Input(x.shape[1:]))
    place = (tf.constant(value, tf.int64) for value in (step, first))
    masks = {layer.name: layer.draw_numbers(RandomStream(0, *place), x.shape[0])}
    with context.forward_context(context.ForwardContext(masks)):
        return layer(x, training=True).numpy()


@pytest.mark.parametrize("kind", LAYERS)
def test_replicas_draw_their_part(kind):
    whole = disturbed(LAYERS[kind]("noise"), X, step=7)
    parts = [
        disturbed(LAYERS[kind]("noise"), X[first : first + 8], first, step=7)
        for first in range(0, 32, 8)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole != X).any()
    assert (disturbed(LAYERS[kind]("noise"), X, step=8) != whole).any()
    np.testing.assert_array_equal(LAYERS[kind]("noise")(X), X)


def test_noise_has_the_moments_of_its_definition():
    noise = disturbed(LAYERS["GaussianNoise"]("noise"), X) - X
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(0.5, abs=0.01)
    factor = disturbed(LAYERS["GaussianDropout"]("noise"), tf.ones_like(X))
    assert factor.mean() == pytest.approx(1, abs=0.01)
    assert factor.std() == pytest.approx((0.3 / 0.7) ** 0.5, abs=0.01)
    kept = disturbed(LAYERS["AlphaDropout"]("noise"), X)
    assert kept.mean() == pytest.approx(0, abs=0.02)
    assert kept.std() == pytest.approx(1, abs=0.02)


def test_a_mask_is_shared_along_axes_of_size_one():
    layer = layers.Dropout(0.5, noise_shape=(None, 1, 1, None), name="channels")
    zero = disturbed(layer, tf.ones_like(X)) == 0
    assert (zero.all((1, 2)) | ~zero.any((1, 2))).all()
    assert 0.4 < zero.mean() < 0.6
    zero = disturbed(LAYERS["StochasticDepth"]("depth"), tf.ones_like(X)) == 0
    assert (zero.all((1, 2, 3)) | ~zero.any((1, 2, 3))).all()
    again = type(layer).from_config(layer.get_config())
    assert again.noise_shape == layer.noise_shape


@pytest.mark.parametrize("shape", [(32, 6), (32, 5, 6), (8, 3, 4, 5, 6)])
@pytest.mark.parametrize("options", [{}, {"center": False}, {"scale": False}])
def test_batch_norm_of_any_rank_equals_keras_own(shape, options):
    x = tf.random.stateless_normal(shape, [0, 1]) * 3 + 1
    theirs = keras.layers.BatchNormalization(**options)
    gain = 1.0 if theirs.scale else None
    ours = layers.BatchNorm(gain=gain, **options)
    with context.forward_context(context.ForwardContext()) as left:
        y = ours(x, training=True)
    np.testing.assert_allclose(y, theirs(x, training=True), atol=1e-4)
    names = [v.path.split("/")[-1] for v in ours.variables]
    assert names == [v.path.split("/")[-1] for v in theirs.variables]
    assert set(left.statistics) == {v.path for v in ours.moving}


def test_batch_norm_in_inference_mode_keeps_its_statistics():
    frozen = layers.BatchNorm(inference=True)
    with context.forward_context(context.ForwardContext()) as left:
        np.testing.assert_allclose(frozen(X, training=True), frozen(X))
    assert not left.statistics and not frozen.moving and frozen.trainable_variables
    assert layers.BatchNorm.from_config(frozen.get_config()).inference
