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

LARGE = 300  # no network takes values beyond it: the layer expects pixels 0..1
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
    def is_large(self) -> bool:
        """Whether its numbers only make sense for pixels 0..255."""
        shrinks, shift = np.abs(self.scale).max(), np.abs(self.offset).max()
        return bool(shrinks <= RAW_SCALE or shift >= RAW_SHIFT)

    @property
    def expects_raw_pixels(self) -> bool:
        """Whether it is taken for a scaling of pixels 0..255."""
        return self.explicit or self.is_large

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


@dataclasses.dataclass(frozen=True)
class Channel:
    """One channel of scaled pixels, [N, H, W], as `preprocess_input` reverses them."""

    scaling: Scaling
    index: int


def follow(
    operation: keras.Operation,
    args: Sequence[Any],
    scaling: Scaling | Channel,
    network: str,
) -> Scaling | Channel | None:
    """Returns the scaling after `operation`; None if it does something else.

    Args:
        operation: a layer or operator that was called with `args`.
        args: its arguments, with `scaling` in the place of the pixels.
        scaling: what has been done to the pixels before.
        network: the name of the network in messages.
    """
    if isinstance(scaling, Channel):
        stacks = type(operation).__name__ == "Stack" and operation.axis in (-1, 3)
        return _stacked(args[0]) if stacks else None
    if isinstance(operation, keras.layers.Rescaling):
        return scaling.then(operation.scale, operation.offset, explicit=True)
    if isinstance(operation, keras.layers.Normalization):
        mean, variance = statistics(operation, network)
        factor = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
        return scaling.then(factor, -mean * factor, explicit=True)
    match type(operation).__name__, args:
        case "GetItem", [_, [*_, last] as places] if _is_last(places):
            if last == slice(None, None, -1):
                return scaling.reversed()
            return Channel(scaling, last) if isinstance(last, int) else None
        case "Add" | "Subtract" | "Multiply" | "Divide" | "TrueDivide" as kind, [_, _]:
            return _follow_operator(kind, args, scaling)
    return None


def is_pixels(value: Any) -> bool:
    """Whether `value` stands for scaled pixels."""
    return isinstance(value, Scaling | Channel)


def _is_last(places: Sequence[Any]) -> bool:
    """Whether an index takes everything but along its last axis, the channels."""
    before = list(places[:-1])
    return before in ([Ellipsis], [slice(None)] * 3)


def _stacked(parts: Sequence[Any]) -> Scaling | None:
    """The pixels that channels were taken from, if they are all of them."""
    if not all(isinstance(part, Channel) for part in parts):
        return None
    order, scaling = [part.index for part in parts], parts[0].scaling
    if len(order) != 3 or any(part.scaling is not scaling for part in parts):
        return None
    if order == [2, 1, 0]:
        return scaling.reversed()
    return scaling if order == [0, 1, 2] else None


def _follow_operator(
    kind: str, args: Sequence[Any], scaling: Scaling
) -> Scaling | None:
    first = args[0] is scaling
    other = args[1] if first else args[0]
    if isinstance(other, Scaling | keras.KerasTensor) or not np.size(other):
        return None
    if any(size != 1 for size in np.shape(other)[:-1]):
        return None
    other = np.asarray(other, np.float64).reshape(-1)
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
