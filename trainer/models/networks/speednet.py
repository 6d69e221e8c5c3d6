"""speednet: airbench94's network for fast CIFAR-10 training, for any image size."""

from typing import Literal

import keras

from trainer.models.layers import BatchNorm, Dirac, Scale, Whitening, scaled

WIDTHS = (64, 256, 256)
MOMENTUM = 0.6  # of moving statistics; low, as a training has a few hundred steps
EPSILON = 1e-5
LOGITS_SCALE = 1 / 9
GELU_SLOPE = 1.702  # Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2


def speednet(
    x: keras.KerasTensor,
    num_classes: int,
    *,
    width: float = 1.0,
    activation: Literal["relu", "gelu"] = "relu",
    whiten: bool = True,
    sync_batch_norm: bool = False,
) -> keras.KerasTensor:
    """Applies airbench94's network (Jordan 2024, arXiv:2404.00498, section 3).

    It has a whitening 2x2 convolution, then three groups of convolution, max-pooling,
    normalisation, activation, convolution, normalisation, activation; then the maximum
    of each channel and a dense layer without bias, whose outputs are divided by nine.
    Float [N, H, W, C] with height and width of at least 9 pixels -> logits [N, K];
    1,975,096 parameters for 3 channels and 10 classes.

    Args:
        x: the normalised images.
        num_classes: K.
        width: factor of the number of channels.
        activation: the activation function; GELU is x * sigmoid(1.702 x).
        whiten: whether the first convolution is computed from images, not trained.
        sync_batch_norm: whether batch statistics are those of all replicas.
    """
    x = Whitening(whiten, name="whitening")(x)
    x = keras.layers.ReLU(name="whitening_relu")(x)
    for group, base in enumerate(WIDTHS, start=1):
        channels = scaled(base, width)
        for half in "ab":
            name = f"group{group}_{half}"
            x = _convolution(x, channels, name)
            if half == "a":
                x = keras.layers.MaxPooling2D(2, name=f"group{group}_pool")(x)
            x = _activated(x, activation, sync_batch_norm, name)
    x = keras.layers.GlobalMaxPooling2D(name="largest")(x)
    x = keras.layers.Dense(
        num_classes, use_bias=False, kernel_initializer=_default(), name="classes"
    )(x)
    return Scale(LOGITS_SCALE / _gain(activation), name="classes_scale")(x)


def _convolution(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        channels,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer=Dirac(_default()),
        name=f"{name}_conv",
    )(x)


def _activated(
    x: keras.KerasTensor, activation: str, synchronized: bool, name: str
) -> keras.KerasTensor:
    """Normalises `x` and applies ReLU or GELU.

    GELU, x * sigmoid(1.702 x), is computed as SiLU after a normalisation with the fixed
    gain 1.702. The remaining factor 1.702 is removed by the next normalisation, and for
    the last layer by the scale of the logits. A bfloat16 step on two CPU cores takes
    1.06 times as long as with ReLU. The whitening, whose outputs come in pairs of both
    signs, is always followed by ReLU.
    """
    x = BatchNorm(
        momentum=MOMENTUM,
        epsilon=EPSILON,
        scale=False,
        gain=_gain(activation),
        synchronized=synchronized,
        name=f"{name}_norm",
    )(x)
    kind = "silu" if activation == "gelu" else "relu"
    return keras.layers.Activation(kind, name=f"{name}_{kind}")(x)


def _gain(activation: str) -> float:
    return GELU_SLOPE if activation == "gelu" else 1.0


def _default() -> keras.initializers.Initializer:
    """PyTorch's default initializer: uniform in +-1 / sqrt(fan in)."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
