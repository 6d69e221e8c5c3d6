"""Scaling of pixels at the beginning of a Keras model, as numbers.

A Keras model often begins with a Rescaling or Normalization layer, or with operators
such as x / 127.5 - 1, and expects pixels 0..255. Here they become one scale and one
offset for each channel, so that the model can be given normalised pixels instead.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np

from trainer.errors import InvalidInput
from trainer.models.layers import Affine
from trainer.models.normalization import PIXEL_MEAN, PIXEL_STD

FOLDED = (keras.layers.Rescaling, keras.layers.Normalization)
# Layers that move pixels and keep their values: the range of a model that begins with
# one of them is told by what follows.
MOVING = (
    keras.layers.Resizing,
    keras.layers.CenterCrop,
    keras.layers.ZeroPadding2D,
    keras.layers.Cropping2D,
    keras.layers.Permute,
    keras.layers.Reshape,
    keras.layers.Identity,
)
LARGE = 1000  # no network takes values beyond it: the layer expects pixels 0..1
# Operators that scale by at most this, or shift by at least that, expect pixels 0..255.
RAW_SCALE, RAW_SHIFT = 1 / 16, 16


@dataclasses.dataclass(frozen=True)
class Scaling:
    """What has been done to pixels 0..255: scale * pixel + offset, for each channel.

    Attributes:
        scale, offset: float64 [C], or [1] for all channels.
        reverse: whether the channels were reversed before that.
        explicit: whether a layer said so, not only operators.
    """

    scale: np.ndarray = dataclasses.field(default_factory=lambda: np.ones(1))
    offset: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(1))
    reverse: bool = False
    explicit: bool = False

    @property
    def expects_raw_pixels(self) -> bool:
        """Whether it only makes sense for pixels 0..255."""
        shrinks = np.abs(self.scale).max() <= RAW_SCALE
        return self.explicit or bool(shrinks or np.abs(self.offset).max() >= RAW_SHIFT)

    def then(self, scale: Any, offset: Any, explicit: bool = False) -> Self:
        """Scales the result by `scale` and adds `offset`."""
        scale, offset = (np.atleast_1d(np.float64(x)) for x in (scale, offset))
        return dataclasses.replace(
            self,
            scale=self.scale * scale,
            offset=self.offset * scale + offset,
            explicit=self.explicit or explicit,
        )

    def reversed(self) -> Self:
        """Reverses the channels of the result."""
        return dataclasses.replace(
            self,
            scale=self.scale[::-1],
            offset=self.offset[::-1],
            reverse=not self.reverse,
        )

    def build_layer(self, name: str, network: str, channels: int) -> Affine:
        """Builds the layer that does the same to normalised pixels.

        Raises:
            InvalidInput: its numbers do not fit the channels, or its values are far
                out of the range of networks.
        """
        if not {len(self.scale), len(self.offset)} <= {1, channels}:
            raise InvalidInput(
                f"{network} begins with a Rescaling or Normalization of "
                f"{max(len(self.scale), len(self.offset))} channels, the images have "
                f"{channels}"
            )
        high = float(
            np.abs(np.stack([self.offset, self.scale * 255 + self.offset])).max()
        )
        if high > LARGE:
            raise InvalidInput(
                f"{network} begins with a Rescaling or Normalization that turns pixels "
                f"0..255 into values up to {high:.4g}; it must expect pixels 0..255, "
                "as Rescaling(1 / 255) does"
            )
        return Affine(
            scale=(self.scale * PIXEL_STD).tolist(),
            offset=(self.scale * PIXEL_MEAN + self.offset).tolist(),
            reverse=self.reverse,
            name=name,
        )


def follow(
    operation: keras.Operation, args: Sequence[Any], scaling: Scaling, network: str
) -> Scaling | None:
    """Returns the scaling after `operation`; None if it does something else.

    Args:
        operation: a layer or operator that was called with `args`.
        args: its arguments, with `scaling` in the place of the pixels.
        scaling: what has been done to the pixels before.
        network: the name of the network in messages.
    """
    if isinstance(operation, keras.layers.Rescaling):
        return scaling.then(operation.scale, operation.offset, explicit=True)
    if isinstance(operation, keras.layers.Normalization):
        mean, variance = statistics(operation, network)
        factor = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
        return scaling.then(factor, -mean * factor, explicit=True)
    kind = type(operation).__name__
    if kind == "GetItem" and args[0] is scaling:
        last = args[1][-1] if isinstance(args[1], tuple) else args[1]
        whole = all(x in (Ellipsis, slice(None)) for x in args[1][:-1])
        return scaling.reversed() if whole and last == slice(None, None, -1) else None
    return _follow_operator(kind, args, scaling)


def _follow_operator(
    kind: str, args: Sequence[Any], scaling: Scaling
) -> Scaling | None:
    if len(args) != 2:
        return None
    other = args[1] if args[0] is scaling else args[0]
    numbers = isinstance(other, int | float | list | tuple | np.ndarray | np.generic)
    if not numbers or np.ndim(other) > 1:
        return None
    other, first = np.asarray(other, np.float64), args[0] is scaling
    match kind:
        case "Multiply":
            return scaling.then(other, 0)
        case "Divide" | "TrueDivide" if first and np.all(other):
            return scaling.then(1 / other, 0)
        case "Add":
            return scaling.then(1, other)
        case "Subtract":
            return scaling.then(1, -other) if first else scaling.then(-1, other)
    return None


def statistics(
    layer: keras.layers.Normalization, network: str
) -> tuple[np.ndarray, np.ndarray]:
    """The mean and variance of a Normalization, [C] or [1].

    Raises:
        InvalidInput: it has none, or not for the last axis.
    """
    refused = None
    if layer.invert:
        refused = "invert=True"
    elif layer.input_mean is not None:
        found = layer.input_mean, layer.input_variance
    elif not layer.built or not (np.any(layer.mean) or np.any(layer.variance != 1)):
        refused = "neither `mean` and `variance` nor numbers of adapt()"
    else:
        found = layer.mean, layer.variance
    if not refused and layer.axis not in ((-1,), (3,), ()):
        refused = f"axis={layer.axis}"
    if refused:
        raise InvalidInput(
            f"layer {layer.name} (Normalization) of {network} has {refused}; give it "
            "mean=[...] and variance=[...], a number for each channel"
        )
    mean, variance = (np.asarray(x, np.float64).reshape(-1) for x in found)
    return mean, variance


def fixed(layer: keras.layers.Normalization, network: str) -> Mapping[str, Any]:
    """The arguments of a Normalization with the numbers of `layer`."""
    mean, variance = statistics(layer, network)
    return {"mean": mean.tolist(), "variance": variance.tolist()}
