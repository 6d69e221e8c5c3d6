"""Networks as users of Keras write them, for `--model` and the laws of the step."""

import keras

L = keras.layers


def sequential(num_classes, image_shape, *, width=1.0, synchronized=False):
    """Every layer that is replaced, with a scaling and a softmax of its own."""
    norm = {"momentum": 0.9, "synchronized": synchronized}
    return keras.Sequential(
        [
            keras.Input(image_shape),
            L.Rescaling(1 / 255),
            L.GaussianNoise(0.1),
            L.Conv2D(int(16 * width), 3, strides=2, use_bias=False),
            L.BatchNormalization(scale=False, **norm),
            L.ReLU(),
            L.SpatialDropout2D(0.1),
            L.GaussianDropout(0.1),
            L.Flatten(),
            L.Dense(16, activation="selu"),
            L.AlphaDropout(0.1),
            L.BatchNormalization(center=False, **norm),
            L.Dropout(0.3),
            L.Dense(num_classes, activation="softmax"),
        ]
    )


def mobilenet_v2(
    num_classes, image_shape, *, side=96, width=1.0, depth=16, synchronized=False
):
    """MobileNetV2 of keras.applications on images of `side`, with its own scaling.

    `depth` is the number of its blocks behind the first one, at most 16.
    """
    base = keras.applications.MobileNetV2(
        input_shape=(side, side, 3), alpha=width, weights=None, include_top=False
    )
    for layer in base.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.synchronized = synchronized
    end = base.output
    if depth < 16:
        block = f"block_{depth}" if depth else "expanded_conv"
        end = base.get_layer(f"{block}_project_BN").output
    images = keras.Input(image_shape)
    x = L.Resizing(side, side)(images)
    x = keras.applications.mobilenet_v2.preprocess_input(x)
    x = keras.Model(base.input, end, name="mobilenet")(x)
    x = L.Dropout(0.2)(L.GlobalAveragePooling2D()(x))
    return keras.Model(images, L.Dense(num_classes, activation="softmax")(x))
