"""Receptive fields, against the pixels whose change changes a layer's output."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models.analysis import layer_table
from trainer.models.analysis.receptive_field import Field

L = keras.layers
SIDE = 32
NETWORKS = {
    "convolutions": [L.Conv2D(2, 3, strides=2), L.Conv2D(2, (3, 5))],
    "depthwise": [L.DepthwiseConv2D(3, strides=2), L.SeparableConv2D(2, 3)],
    "dilated": [L.Conv2D(2, 3, dilation_rate=2), L.Conv2D(2, 2)],
    "pooled": [L.Conv2D(2, 3), L.AveragePooling2D(2), L.Conv2D(2, 3)],
    "padded": [L.ZeroPadding2D(1), L.Conv2D(2, 3, strides=2), L.Cropping2D(1)],
}


def field(*layers):
    """The receptive field of the last of `layers`, and a model of them."""
    image = keras.Input((SIDE, SIDE, 1))
    x = image
    for layer in layers:
        x = layer(x)
    body = keras.Model(image, x)
    return layer_table.measure(body).layers[-1].field, body


@pytest.mark.parametrize("name", NETWORKS)
def test_the_field_is_what_a_number_depends_on(name):
    found, body = field(*NETWORKS[name])
    for weight in body.trainable_variables:
        weight.assign(np.ones(weight.shape))
    height, width = (size // 2 for size in body.output.shape[1:3])
    image = tf.ones((1, SIDE, SIDE, 1))
    with tf.GradientTape() as tape:
        tape.watch(image)
        number = tf.reduce_sum(body(image)[0, height, width])
    seen = tape.gradient(number, image).numpy()[0, :, :, 0] != 0
    sizes = [np.ptp(np.flatnonzero(np.any(seen, axis))) + 1 for axis in (1, 0)]
    assert str(found) == " x ".join(map(str, sizes))


def test_the_field_behind_a_branch_is_that_of_its_largest_input():
    image = keras.Input((SIDE, SIDE, 1))
    left = L.Conv2D(1, 5, padding="same")(image)
    body = keras.Model(image, L.Add()([left, image]))
    assert str(layer_table.measure(body).layers[-1].field) == "5 x 5"


@pytest.mark.parametrize(
    "layers",
    [
        [L.GlobalAveragePooling2D()],
        [L.GlobalAveragePooling2D(keepdims=True)],
        [L.AveragePooling2D(SIDE)],
        [L.Flatten()],
        [L.Reshape((SIDE * SIDE, 1)), L.Attention()],
    ],
)
def test_means_and_attention_see_the_whole_image(layers):
    image = keras.Input((SIDE, SIDE, 1))
    x = image
    for layer in layers:
        x = layer([x, x]) if isinstance(layer, L.Attention) else layer(x)
    assert layer_table.measure(keras.Model(image, x)).layers[-1].field.whole


def test_what_is_not_known_is_said():
    class Unknown(L.Layer):
        def call(self, x):
            return x[:, ::-1]

    for unknown in (Unknown(), L.UpSampling2D(2), L.Conv2DTranspose(2, 3)):
        found, body = field(L.Conv2D(2, 3), unknown, L.Conv2D(2, 3))
        assert not found.known
        assert str(found) == "?"
        assert str(layer_table.measure(body).field) == "?"


def test_the_input_sees_one_pixel():
    assert str(Field()) == "1 x 1"
