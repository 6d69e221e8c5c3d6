"""Your own network: copy this file, change the layers, and train it by its name.

    trainer --dataset=digits --augment=crop --model=my_net.py:network
    trainer-tflite --quantize

The first parameter tells the two forms apart. Parameters after the `*` are options,
which --model_kwargs sets; an annotation refuses values of another type. Keras' dropout
and batch norm layers are replaced by exact ones of the same meaning.
"""

import keras


def network(
    x,
    num_classes,
    *,
    width: float = 1.0,
    dropout: float = 0.1,
    sync_batch_norm: bool = False,
):
    """Logits [N, num_classes] of images x, float [N, H, W, C] in [-1, 1)."""
    for channels in (16, 32, 64):
        x = keras.layers.Conv2D(int(channels * width), 3, padding="same")(x)
        x = keras.layers.BatchNormalization(synchronized=sync_batch_norm)(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(dropout)(x)
    return keras.layers.Dense(num_classes)(x)


def model(num_classes, image_shape, *, width: float = 1.0, dropout: float = 0.1):
    """A Keras model of raw pixels in 0..255, as it may have been written before.

    Its Rescaling becomes part of the network, its softmax is left out.
    """
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(int(32 * width), 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(num_classes, activation="softmax"),
        ]
    )
