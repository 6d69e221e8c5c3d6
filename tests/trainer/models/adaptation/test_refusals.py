"""What cannot be trained exactly is refused by name and with a remedy, in one line."""

import keras
import pytest

from tests.support.keras_models import SHAPE, describe
from trainer.errors import InvalidInput

L = keras.layers


def ending(inputs, x, activation="softmax"):
    return keras.Model(inputs, L.Dense(5, activation=activation)(L.Flatten()(x)))


def behind(*layers, activation="softmax"):
    """A model with `layers` behind each other."""

    def build():
        inputs = x = keras.Input(SHAPE)
        for layer in layers:
            x = layer()(x)
        return ending(inputs, x, activation)

    return build


def rows():
    return L.Reshape((12, 36))


def called_twice():
    norm, inputs = L.BatchNormalization(name="twice"), keras.Input(SHAPE)
    return ending(inputs, norm(norm(inputs)))


def random_predictions():
    inputs = keras.Input(SHAPE)
    return ending(inputs, L.Dropout(0.5, name="always")(inputs, training=True))


def two_inputs():
    inputs = [keras.Input(SHAPE), keras.Input(SHAPE)]
    return ending(inputs, L.add(inputs))


def with_scores():
    inputs = keras.Input(SHAPE)
    found = L.Dense(5)(L.Flatten()(inputs))
    return keras.Model(inputs, [found, L.Softmax()(found)])


class Subclassed(keras.Model):
    def call(self, images):
        return images


class Doubled(L.Layer):
    def call(self, images):
        return images * 2


def attention():
    inputs = keras.Input(SHAPE)
    x = rows()(inputs)
    return ending(inputs, L.MultiHeadAttention(2, 4, dropout=0.1, name="heads")(x, x))


def of_shape(*shape):
    return lambda: keras.Sequential([keras.Input(shape), L.Flatten(), L.Dense(5)])


def too_large():
    inputs = keras.Input((24, 24, 3))
    return ending(inputs, L.Conv2D(4, 20)(inputs))


REFUSED = {
    "flip .RandomFlip.* augment=flip": behind(lambda: L.RandomFlip(name="flip")),
    "RandomContrast.* color_jitter=0.4": behind(lambda: L.RandomContrast(0.1)),
    "RandomRotation.* randaugment_ops=2": behind(lambda: L.RandomRotation(0.1)),
    "axis=1; it must be -1": behind(lambda: L.BatchNormalization(axis=1)),
    "gamma_initializer; it must be a constant": behind(
        lambda: L.BatchNormalization(gamma_initializer="random_normal")
    ),
    "twice .BatchNormalization.* called twice.* use two layers": called_twice,
    "is given a mask": behind(rows, L.Masking, L.BatchNormalization),
    "TimeDistributed.* keeps state .* in its .*BatchNormalization": behind(
        rows, lambda: L.TimeDistributed(L.BatchNormalization())
    ),
    "SpectralNormalization.* keeps state": behind(
        lambda: L.SpectralNormalization(L.Conv2D(4, 3))
    ),
    "LSTM.* keeps state.* set its dropout to 0": behind(
        rows, lambda: L.LSTM(4, dropout=0.1)
    ),
    "heads .MultiHeadAttention.* set its dropout to 0": attention,
    "always .* would be random; leave `training` out": random_predictions,
    "rate=1.* below 1": behind(lambda: L.Dropout(1.0)),
    r"noise_shape=\(1, .* must begin with None": behind(
        lambda: L.Dropout(0.1, noise_shape=(1, 1, 1, 3))
    ),
    "kernel_regularizer; use `weight_decay`": behind(
        lambda: L.Conv2D(4, 3, kernel_regularizer="l2")
    ),
    "kernel_constraint; leave it out": behind(
        lambda: L.Conv2D(4, 3, kernel_constraint="max_norm")
    ),
    "adds a loss; use `weight_decay`": behind(lambda: L.ActivityRegularization(0.1)),
    "Lambda.* keras.ops": behind(lambda: L.Lambda(lambda x: x * 2)),
    "Doubled.* is of a class of your own": behind(Doubled),
    "subclassed model .Subclassed.* return keras.Model": Subclassed,
    "in functional.* is a subclassed model .Subclassed": behind(Subclassed),
    "has neither `mean` and `variance` nor": behind(L.Normalization),
    "values up to 510; it must expect": behind(lambda: L.Rescaling(2.0)),
    "has activation sigmoid; .* logits or end in a softmax": behind(
        activation="sigmoid"
    ),
    "2 inputs; it must take one image": two_inputs,
    "2 outputs": with_scores,
    r"takes inputs \[144, 3\], the images are \[12, 12, 3\]": of_shape(144, 3),
    r"takes inputs \[12, 12, 1\]": of_shape(12, 12, 1),
    r"does not take \[None, 12, 12, 3\], from images": too_large,
}


@pytest.mark.parametrize("said", REFUSED)
def test_it_is_refused_by_name(said):
    with pytest.raises(InvalidInput, match=said) as raised:
        describe(REFUSED[said]())
    assert len(str(raised.value).splitlines()) == 1
