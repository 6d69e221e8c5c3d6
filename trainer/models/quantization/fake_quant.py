"""Layers that compute as an int8 network does: kernels and activations are rounded.

Fake quantisation (Jacob et al. 2018, section 3; Krishnamoorthi 2018) rounds a number to
one of 256 values and passes the gradient through. It is computed in float32 in every
precision.
"""

# ruff: noqa: D102  build, call and get_config are Keras' own

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.models import context

GROUP = 8  # images whose common range is one observation, however a batch is shared
MOMENTUM = 0.99
_LAST = 255  # of the 256 steps
_NARROWEST = 1e-5  # a range of no width has no scale


def round_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """Rounds `kernel` [..., C] to -127 to 127 times a scale for each channel C."""
    wide = tf.cast(kernel, tf.float32)
    largest = tf.reduce_max(tf.abs(wide), axis=list(range(len(wide.shape) - 1)))
    limit = tf.stop_gradient(tf.maximum(largest, _NARROWEST))
    return tf.cast(fake_quant(wide, -limit, limit, narrow_range=True), kernel.dtype)


def fake_quant(
    x: tf.Tensor, low: tf.Tensor, high: tf.Tensor, *, narrow_range: bool = False
) -> tf.Tensor:
    """Rounds `x` to 256 values from `low` to `high`, which have one value or C.

    The gradient passes where `x` is within the range. TensorFlow's own also sums what
    the range would get, which nobody trains here, and has no deterministic GPU kernel.

    Args:
        x: float32 [..., C].
        low: at most 0.
        high: at least 0.
        narrow_range: whether the lowest of the 256 values is left out.
    """
    operator = (
        tf.quantization.fake_quant_with_min_max_vars_per_channel
        if high.shape.rank
        else tf.quantization.fake_quant_with_min_max_vars
    )

    @tf.custom_gradient
    def rounded(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            least, most = _nudged_range(low, high, int(narrow_range))
            within = (x >= least) & (x <= most)
            return tf.where(within, upstream, tf.zeros_like(upstream))

        return operator(x, low, high, num_bits=8, narrow_range=narrow_range), gradient

    return rounded(x)


def _nudged_range(
    low: tf.Tensor, high: tf.Tensor, first: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Shifts a range so that one of the steps `first` to 255 is exactly zero."""
    scale = (high - low) / (_LAST - first)
    zero = tf.floor(tf.clip_by_value(first - low / scale, first, _LAST) + 0.5)
    return (first - zero) * scale, (_LAST - zero) * scale


class _RoundedKernel:
    """The part that layers with a rounded kernel share.

    Their variables are not cast to half precision before they are rounded.
    """

    def add_weight(self, *args: Any, **kwargs: Any) -> keras.Variable:
        return super().add_weight(*args, **{**kwargs, "autocast": False})

    def rounded_kernel(self) -> tf.Tensor:
        """Returns the kernel as the int8 network has it, in the variable's dtype."""
        return round_kernel(tf.convert_to_tensor(self.kernel))

    def _finish(self, x: tf.Tensor) -> tf.Tensor:
        if self.use_bias:
            x = x + tf.cast(self.bias, x.dtype)
        return x if self.activation is None else self.activation(x)


@keras.saving.register_keras_serializable("trainer")
class RoundedConv2D(_RoundedKernel, keras.layers.Conv2D):
    """A convolution with a rounded kernel, one scale for each output channel."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.rounded_kernel(), x.dtype)
        return self._finish(self.convolution_op(x, kernel))


@keras.saving.register_keras_serializable("trainer")
class RoundedDepthwiseConv2D(_RoundedKernel, keras.layers.DepthwiseConv2D):
    """A depthwise convolution with a rounded kernel, one scale for each channel."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = keras.ops.depthwise_conv(
            x,
            tf.cast(self.rounded_kernel(), x.dtype),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self._finish(y)

    def rounded_kernel(self) -> tf.Tensor:
        """Returns the kernel [H, W, C, M] with a scale for each of the C M channels."""
        kernel = tf.convert_to_tensor(self.kernel)
        height, width, channels, multiplier = kernel.shape
        flat = tf.reshape(kernel, [height, width, channels * multiplier])
        return tf.reshape(round_kernel(flat), kernel.shape)


@keras.saving.register_keras_serializable("trainer")
class RoundedDense(_RoundedKernel, keras.layers.Dense):
    """A dense layer with a rounded kernel, one scale for each output."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self._finish(tf.matmul(x, tf.cast(self.rounded_kernel(), x.dtype)))


@keras.saving.register_keras_serializable("trainer")
class FakeQuant(keras.layers.Layer):
    """Rounds activations to 256 steps between a moving minimum and maximum.

    An observation is the mean over groups of GROUP images of their minimum and maximum.
    As with batch normalisation's statistics, the layer puts it into the forward
    context, and the step averages it over replicas: any number of them sees the same
    ranges where the share of each is a multiple of GROUP.

    Args:
        limits: the range, if it is known and does not move.
        momentum: momentum of the moving range.
    """

    def __init__(
        self,
        *,
        limits: tuple[float, float] | None = None,
        momentum: float = MOMENTUM,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.limits = None if limits is None else tuple(limits)
        self.momentum = momentum
        self._observed: list[np.ndarray] | None = None  # while it is calibrated

    def build(self, shape: tuple) -> None:
        if self.limits is not None:
            self.moving = []
            return
        self.moving = [
            self.add_weight(
                shape=(),
                name=name,
                initializer=initial,
                trainable=False,
                autocast=False,
            )
            for name, initial in (("minimum", "zeros"), ("maximum", "ones"))
        ]

    def call(
        self, x: tf.Tensor, training: bool = False, observe: bool = True
    ) -> tf.Tensor:
        if self._observed is not None:
            if observe:
                self._observed.append(np.array(observe_range(x)))
            return x
        if training and observe and self.moving:
            statistics = context.current_context().statistics
            for variable, now in zip(self.moving, observe_range(x), strict=True):
                statistics[variable.path] = tf.cast(now, self.variable_dtype)
        low, high = self.limits or (v.value for v in self.moving)
        low = tf.minimum(tf.cast(low, tf.float32), 0.0)  # zero has to be a step
        high = tf.maximum(tf.cast(high, tf.float32), low + _NARROWEST)
        rounded = fake_quant(tf.cast(x, tf.float32), low, tf.maximum(high, 0.0))
        return tf.cast(rounded, x.dtype)

    def compute_output_spec(self, x: Any, **kwargs: Any) -> keras.KerasTensor:
        """Describes the output; Keras calls some products of dense tensors sparse."""
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def start_calibration(self) -> None:
        """Passes activations unchanged from now on, and observes their ranges."""
        self._observed = []

    def finish_calibration(self) -> None:
        """Sets the range to the mean of those observed, and rounds from now on."""
        if self._observed and self.moving:
            for variable, value in zip(
                self.moving, np.mean(self._observed, axis=0), strict=True
            ):
                variable.assign(value)
        self._observed = None

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "limits": self.limits,
            "momentum": self.momentum,
        }


def observe_range(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean minimum and maximum of groups of images: x [N, ...], N known."""
    count = x.shape[0]
    groups = tf.reshape(x, [-1, math.gcd(count, GROUP) * math.prod(x.shape[1:])])
    low, high = tf.reduce_min(groups, 1), tf.reduce_max(groups, 1)
    return tf.reduce_mean(low), tf.reduce_mean(high)
