"""Multiply-adds of each kind of layer, counted by hand here, by shape there."""

import keras
import pytest
import tensorflow as tf

from trainer.models.analysis import multiply_adds

L = keras.layers
IMAGE = (8, 6, 4)


@keras.saving.register_keras_serializable("tests")
class OwnLayer(L.Layer):
    """A layer of a user, which only its graph describes."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1], 5))

    def call(self, x):
        return tf.matmul(x, tf.cast(self.weight, x.dtype))


def counted(layer, *shapes):
    inputs = [keras.Input(shape) for shape in shapes or (IMAGE,)]
    outputs = layer(*inputs) if len(inputs) == 1 else layer(inputs)
    return multiply_adds.count_multiply_adds(keras.Model(inputs, outputs))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (L.Conv2D(5, 3, padding="same"), 8 * 6 * 9 * 4 * 5),
        (L.Conv2D(5, 3, strides=2), 3 * 2 * 9 * 4 * 5),
        (L.Conv2D(6, 3, padding="same", groups=2), 8 * 6 * 9 * 2 * 6),
        (L.DepthwiseConv2D(3, padding="same"), 8 * 6 * 9 * 4),
        (L.DepthwiseConv2D(3, depth_multiplier=2), 6 * 4 * 9 * 4 * 2),
        (L.SeparableConv2D(5, 3, padding="same"), 8 * 6 * (9 * 4 + 4 * 5)),
        (L.Conv2DTranspose(5, 3, strides=2, padding="same"), 8 * 6 * 9 * 4 * 5),
        (L.Dense(7), 8 * 6 * 4 * 7),
        (L.ReLU(), 0),
        (L.MaxPooling2D(2), 0),
        (L.BatchNormalization(), 0),
        (L.EinsumDense("abcd,de->abce", (8, 6, 3)), 8 * 6 * 4 * 3),
        (OwnLayer(), 8 * 6 * 4 * 5),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_layers_of_images(layer, expected):
    assert counted(layer) == expected


def test_attention_is_counted_with_its_products():
    layer = L.MultiHeadAttention(num_heads=2, key_dim=3)
    tokens = keras.Input((10, 4))
    body = keras.Model(tokens, layer(tokens, tokens))
    projections = 4 * 10 * 4 * 2 * 3  # query, key, value and output
    products = 2 * 10 * 10 * 2 * 3
    assert multiply_adds.count_multiply_adds(body) == projections + products


def test_products_of_operators_and_shared_layers_are_counted_at_each_call():
    tokens, dense = keras.Input((10, 4)), L.Dense(4)
    twice = dense(dense(tokens))
    product = keras.ops.matmul(twice, keras.ops.transpose(tokens, (0, 2, 1)))
    body = keras.Model(tokens, product)
    assert multiply_adds.count_multiply_adds(body) == 2 * 10 * 4 * 4 + 10 * 10 * 4


def test_dot_is_a_product():
    assert counted(L.Dot(axes=2), (10, 4), (7, 4)) == 10 * 7 * 4


def test_contracted_labels():
    contracted = multiply_adds._contracted
    assert contracted(b"...x,xy->...y", [(1, 2, 5), (5, 3)]) == 5
    assert contracted(b"aecd,abcd->acbe", [(1, 7, 2, 3), (1, 9, 2, 3)]) == 3
