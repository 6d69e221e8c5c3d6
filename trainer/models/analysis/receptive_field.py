"""The receptive field: which pixels of the image a number of a layer depends on.

Sizes follow Araujo et al. 2019 (Distill, "Computing receptive fields of convolutional
neural networks"): a kernel of k adds (k - 1) times the stride up to its layer.
Normalisation counts as if it saw one place only, as is usual.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Self

import keras

_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
_ATTENTION = (
    keras.layers.Attention,
    keras.layers.AdditiveAttention,
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
)
_SHIFTED = (keras.layers.ZeroPadding2D, keras.layers.Cropping2D)
_SHIFTING_OPERATORS = ("Pad",)
_KNOWN = ("keras.", "trainer.")


@dataclasses.dataclass(frozen=True)
class Field:
    """The receptive field of a layer's output.

    Attributes:
        size: height and width in pixels.
        stride: pixels between neighbours, by height and width.
        whole: whether it is the whole image.
        known: whether it is known; it is not behind a user's own layer or upsampling.
    """

    size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    whole: bool = False
    known: bool = True

    def windowed(self, size: Sequence[int], stride: Sequence[int]) -> Self:
        """The field after a window of `size`, moved by `stride`."""
        grown = [
            old + (window - 1) * step
            for old, window, step in zip(self.size, size, self.stride, strict=True)
        ]
        steps = [old * new for old, new in zip(self.stride, stride, strict=True)]
        return dataclasses.replace(self, size=tuple(grown), stride=tuple(steps))

    def __str__(self) -> str:
        if self.whole:
            return "all"
        if not self.known:
            return "?"
        return " x ".join(map(str, self.size))


WHOLE = Field(whole=True)
UNKNOWN = Field(known=False)


def joined(fields: Sequence[Field]) -> Field:
    """The field of what depends on all of `fields`."""
    if any(field.whole for field in fields):
        return WHOLE
    if not fields or not all(field.known for field in fields):
        return UNKNOWN
    size = [max(sizes) for sizes in zip(*(x.size for x in fields), strict=True)]
    stride = [max(steps) for steps in zip(*(x.stride for x in fields), strict=True)]
    return Field(tuple(size), tuple(stride))


def follow(layer: keras.Operation, field: Field, inputs: tuple, output: tuple) -> Field:
    """The field after `layer`.

    Args:
        layer: the layer or operator.
        field: that of its inputs.
        inputs: shape of its first input, with the batch.
        output: shape of its output, with the batch.
    """
    if field.whole or len(output) < 3 or isinstance(layer, _ATTENTION):
        return WHOLE
    places, before = tuple(output[1:-1]), tuple(inputs[1:-1])
    single = set(places) == {1} and set(before) != {1}
    window = _window(layer)
    if window is not None:
        covered = all(a >= b for a, b in zip(window[0], before, strict=True))
        return WHOLE if single and covered else field.windowed(*window)
    if single:  # a mean or maximum over the image
        return WHOLE
    if not type(layer).__module__.startswith(_KNOWN):
        return UNKNOWN
    shifted = isinstance(layer, _SHIFTED) or type(layer).__name__ in _SHIFTING_OPERATORS
    return field if shifted or math.prod(places) == math.prod(before) else UNKNOWN


def _window(
    layer: keras.Operation,
) -> tuple[Sequence[int], Sequence[int]] | None:
    """Size and stride of the window of a layer that has one."""
    if isinstance(layer, _CONVOLUTIONS):
        pairs = zip(layer.kernel_size, layer.dilation_rate, strict=True)
        return [(size - 1) * rate + 1 for size, rate in pairs], layer.strides
    if isinstance(layer, _POOLING):
        return layer.pool_size, layer.strides
    if type(layer).__name__ == "Whitening":
        return layer.kernel.shape[:2], (1, 1)
    return None
