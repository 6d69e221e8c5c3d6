"""The head of networks that end with the mean over the image."""

import keras

from trainer.models.layers import Dropout


def classify(
    x: keras.KerasTensor, num_classes: int, dropout: float
) -> keras.KerasTensor:
    """Applies global average pooling, optional dropout and a dense layer."""
    x = keras.layers.AveragePooling2D(tuple(x.shape[1:3]), name="average")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    if dropout:
        x = Dropout(dropout, name="dropout")(x)
    return keras.layers.Dense(
        num_classes, kernel_initializer="he_normal", name="classes"
    )(x)
