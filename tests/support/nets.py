"""Networks for laws of the step, soon traced, and small ones of the registry."""

import keras

from trainer.models import registry
from trainer.models.layers import Dropout, scaled
from trainer.models.networks import head, resnet


def block(x, num_classes, *, width=1.0, dropout=0.0, sync_batch_norm=False):
    """resnet8's stem and one of its blocks: each kind of layer, soon traced."""
    norm, channels = resnet._Norm(sync_batch_norm), scaled(16, width)
    x = norm(resnet._conv(x, channels, "stem", bias=True), "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    shortcut = resnet._conv(x, channels, "shortcut", size=1, strides=2)
    x = norm(resnet._conv(x, channels, "a", strides=2), "a")
    x = keras.layers.Add(name="add")([shortcut, x])
    return head.classify(x, num_classes, dropout)


def options_of_width(name, width=0.25):
    """The option `width` of a network of the registry; none where it has no width."""
    known = registry.read_signature(name).parameters
    return {"width": width} if "width" in known else {}


def plain(x, num_classes, *, width=1.0, dropout=0.3):
    """cnn with one convolution of its six: each kind of layer."""
    x = keras.layers.Conv2D(
        scaled(32, width),
        3,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name="conv_1",
    )(x)
    x = keras.layers.MaxPooling2D(2, name="pool_1")(x)
    x = Dropout(dropout / 2, name="dropout_1")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = Dropout(dropout, name="dense_dropout")(x)
    return keras.layers.Dense(num_classes, name="classes")(x)
