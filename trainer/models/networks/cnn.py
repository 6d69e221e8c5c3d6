"""cnn: convolutions and max-pooling without normalisation layers."""

import keras

from trainer.models.layers import Dropout, scaled

BLOCKS = (32, 64, 128)
DENSE = 128


def cnn(
    x: keras.KerasTensor, num_classes: int, *, width: float = 1.0, dropout: float = 0.3
) -> keras.KerasTensor:
    """Applies three blocks (conv, conv, max-pool, dropout) and two dense layers.

    Float [N, H, W, C] -> logits [N, K]; 550,570 parameters for 32x32x3 and 10 classes.

    Args:
        x: the normalised images.
        num_classes: K.
        width: factor of the number of channels.
        dropout: dropout rate before the last layer; half of it after each block.
    """
    for block, channels in enumerate(BLOCKS, start=1):
        for half in "ab":
            x = keras.layers.Conv2D(
                scaled(channels, width),
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"block{block}_conv_{half}",
            )(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
        x = Dropout(dropout / 2, name=f"block{block}_dropout")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(
        scaled(DENSE, width),
        activation="relu",
        kernel_initializer="he_normal",
        name="dense",
    )(x)
    x = Dropout(dropout, name="dropout")(x)
    return keras.layers.Dense(num_classes, name="classes")(x)
