"""MobileNetV1 (Howard et al. 2017) as in MLPerf Tiny's visual wake words."""

from typing import Any

import keras

from trainer.models.layers import BatchNorm, scaled
from trainer.models.networks.head import classify

STEM = 32  # channels of the first convolution at width 1
# Channels at width 1 and stride of the thirteen depthwise separable convolutions.
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)


def mobilenet(
    x: keras.KerasTensor,
    num_classes: int,
    *,
    width: float = 0.25,
    dropout: float = 0.0,
    sync_batch_norm: bool = False,
) -> keras.KerasTensor:
    """Applies a convolution and thirteen depthwise separable ones.

    Layers are those of the reference of MLPerf Tiny (Banbury et al. 2021): convolutions
    have biases, and activations are ReLU, not the ReLU6 of the paper. Float
    [N, H, W, C] -> logits [N, K]. 221,794 parameters for 96x96x3 and 2 classes;
    210,850 after its 27 batch normalisations (4 x 2,736) are folded.

    Args:
        x: the normalised images.
        num_classes: K.
        width: factor of the number of channels; 0.25 is the reference, 1.0 the paper.
        dropout: dropout rate before the last layer; 0: no dropout.
        sync_batch_norm: whether batch statistics are those of all replicas.
    """
    stem = {"strides": 2, "padding": "same"}
    x = _conv(x, scaled(STEM, width), 3, "stem", **stem)
    x = _norm_relu(x, "stem", sync_batch_norm)
    for number, (base, strides) in enumerate(BLOCKS, start=1):
        x = _depthwise(x, strides, f"block{number}_depthwise")
        x = _norm_relu(x, f"block{number}_depthwise", sync_batch_norm)
        x = _conv(x, scaled(base, width), 1, f"block{number}_pointwise")
        x = _norm_relu(x, f"block{number}_pointwise", sync_batch_norm)
    return classify(x, num_classes, dropout)


def _conv(
    x: keras.KerasTensor, channels: int, size: int, name: str, **options: Any
) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        channels, size, kernel_initializer="he_normal", name=f"{name}_conv", **options
    )(x)


def _depthwise(x: keras.KerasTensor, strides: int, name: str) -> keras.KerasTensor:
    # An output sees the 9 pixels of its own channel. Keras counts those of all channels
    # as the inputs of a depthwise kernel, and 9 as its outputs: He et al. 2015 by them.
    he_normal = keras.initializers.VarianceScaling(
        2.0, mode="fan_out", distribution="truncated_normal"
    )
    return keras.layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding="same",
        depthwise_initializer=he_normal,
        name=f"{name}_conv",
    )(x)


def _norm_relu(
    x: keras.KerasTensor, name: str, synchronized: bool
) -> keras.KerasTensor:
    x = BatchNorm(synchronized=synchronized, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
