"""Keras models of a user, described and rebuilt as a run does."""

import numpy as np
import tensorflow as tf

from trainer.models import architecture

SHAPE = (12, 12, 3)


def describe(network, precision="float32", *, kwargs=None, classes=5, shape=SHAPE):
    return architecture.describe(
        network,
        kwargs or {},
        image_shape=shape,
        num_classes=classes,
        precision=precision,
    )


def build(network, precision="float32", **words):
    """The body of a network for images SHAPE and five classes."""
    return architecture.rebuild(describe(network, precision, **words), precision)


def images(side=SHAPE[0], count=4, channels=3) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, side, side, channels), np.uint8)


def predict(body, pixels: np.ndarray) -> tf.Tensor:
    """The logits of images uint8 [N, H, W, C]."""
    body.input_spec = None
    return body((np.float32(pixels) - 128) / 128)
