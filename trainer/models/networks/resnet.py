"""resnet8 of MLPerf Tiny's image classification, and resnet20 of He et al. 2015."""

import keras

from trainer.models.layers import BatchNorm, StochasticDepth, scaled
from trainer.models.networks.head import classify

WIDTHS = (16, 32, 64)


def resnet8(
    x: keras.KerasTensor,
    num_classes: int,
    *,
    width: float = 1.0,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    sync_batch_norm: bool = False,
) -> keras.KerasTensor:
    """Applies three residual stacks of one block each (Banbury et al. 2021).

    Layers are those of the reference of MLPerf Tiny: convolutions have biases, and the
    shortcut of a stack that halves the size is a 1x1 convolution without normalisation.
    Float [N, H, W, C] -> logits [N, K]. 78,666 parameters for 32x32x3 and 10 classes;
    77,706 after its seven batch normalisations (4 x 240) are folded, which are the
    77.7 k of the benchmark.

    Args:
        x: the normalised images.
        num_classes: K.
        width: factor of the number of channels.
        dropout: dropout rate before the last layer; 0: no dropout.
        stochastic_depth: part of the examples that skip the last block, see `_merge`.
        sync_batch_norm: whether batch statistics are those of all replicas.
    """
    norm = _Norm(sync_batch_norm)
    x = norm(_conv(x, scaled(WIDTHS[0], width), "stem", bias=True), "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    for stack, base in enumerate(WIDTHS, start=1):
        name, strides = f"stack{stack}", 1 if stack == 1 else 2
        channels, shortcut = scaled(base, width), x
        x = _conv(x, channels, f"{name}_a", strides=strides, bias=True)
        x = keras.layers.ReLU(name=f"{name}_a_relu")(norm(x, f"{name}_a"))
        x = norm(_conv(x, channels, f"{name}_b", bias=True), f"{name}_b")
        if stack > 1:
            shortcut = _conv(
                shortcut, channels, f"{name}_shortcut", size=1, strides=2, bias=True
            )
        x = _merge(x, shortcut, name, stochastic_depth * stack / len(WIDTHS))
    return classify(x, num_classes, dropout)


def resnet20(
    x: keras.KerasTensor,
    num_classes: int,
    *,
    width: float = 1.0,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    sync_batch_norm: bool = False,
) -> keras.KerasTensor:
    """Applies ResNet-20 for CIFAR (He et al. 2015, section 4.2): three stages of three.

    Shortcuts have no parameters (option A): they take every second pixel and fill new
    channels with zeros. Float [N, H, W, C] -> logits [N, K]; 271,098 parameters for
    32x32x3 and 10 classes, of which 1,376 are moving statistics. Options as `resnet8`.
    """
    norm = _Norm(sync_batch_norm)
    x = norm(_conv(x, scaled(WIDTHS[0], width), "stem"), "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    for stage, base in enumerate(WIDTHS, start=1):
        for number, block in enumerate("abc", start=3 * stage - 2):
            name = f"stage{stage}{block}"
            strides = 2 if stage > 1 and block == "a" else 1
            channels = scaled(base, width)
            shortcut = _option_a(x, channels, name) if strides == 2 else x
            x = _conv(x, channels, f"{name}_1", strides=strides)
            x = keras.layers.ReLU(name=f"{name}_1_relu")(norm(x, f"{name}_1"))
            x = norm(_conv(x, channels, f"{name}_2"), f"{name}_2")
            x = _merge(x, shortcut, name, stochastic_depth * number / 9)
    return classify(x, num_classes, dropout)


class _Norm:
    """Adds batch normalisation after the convolution `name`."""

    def __init__(self, synchronized: bool) -> None:
        self._synchronized = synchronized

    def __call__(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return BatchNorm(synchronized=self._synchronized, name=f"{name}_norm")(x)


def _conv(
    x: keras.KerasTensor,
    channels: int,
    name: str,
    *,
    size: int = 3,
    strides: int = 1,
    bias: bool = False,
) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        channels,
        size,
        strides=strides,
        padding="same",
        use_bias=bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)


def _merge(
    x: keras.KerasTensor, shortcut: keras.KerasTensor, name: str, rate: float
) -> keras.KerasTensor:
    """Adds the shortcut of a block, for a part of the examples without the block.

    In training each example skips the block with probability `rate` (Huang et al. 2016,
    whose rate also grows linearly with the number of the block).
    """
    if rate:
        x = StochasticDepth(rate, name=f"{name}_depth")(x)
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _option_a(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    x = keras.layers.MaxPooling2D(1, strides=2, name=f"{name}_every_second")(x)
    grown = channels - x.shape[-1]
    pads = [[0, 0], [0, 0], [0, 0], [grown // 2, grown - grown // 2]]
    return keras.ops.pad(x, pads)
