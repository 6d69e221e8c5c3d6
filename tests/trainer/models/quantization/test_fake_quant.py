"""Rounding to 8 bits is TensorFlow's, and so is its gradient, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.models.quantization.fake_quant import fake_quant

GENERATOR = np.random.default_rng(0)
PER_TENSOR = tf.quantization.fake_quant_with_min_max_vars
PER_CHANNEL = tf.quantization.fake_quant_with_min_max_vars_per_channel


def gradient(function, x, low, high, narrow) -> tuple[np.ndarray, np.ndarray]:
    """What `function` makes of `x`, and its gradient."""
    upstream = tf.reshape(tf.range(1.0, x.shape.num_elements() + 1.0), x.shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x, low, high, narrow_range=narrow)
    return y.numpy(), tape.gradient(y, x, upstream).numpy()


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("channels", [0, 5])
def test_rounding_and_its_gradient_are_those_of_tensorflow(narrow, channels):
    operator = PER_CHANNEL if channels else PER_TENSOR
    shape = (channels,) if channels else ()
    for _ in range(50):
        low = tf.constant(-GENERATOR.gamma(1, size=shape), tf.float32)
        high = tf.constant(GENERATOR.gamma(1, size=shape), tf.float32)
        # Also numbers at the edges of the range, and one step of a float beside them.
        bounds = operator(
            tf.constant([[-1e9] * max(channels, 1), [1e9] * max(channels, 1)]),
            low,
            high,
            narrow_range=narrow,
        ).numpy()
        edges = [bounds, np.nextafter(bounds, 9), np.nextafter(bounds, -9)]
        drawn = GENERATOR.normal(size=(300, max(channels, 1)))
        x = tf.constant(np.concatenate([drawn, *edges]).astype("f"))
        ours = gradient(fake_quant, x, low, high, narrow)
        np.testing.assert_array_equal(ours, gradient(operator, x, low, high, narrow))
