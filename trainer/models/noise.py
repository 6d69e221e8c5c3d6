"""Layers that are random in training, by seed, step and position only.

Keras' own layers have a seed state that checkpoints do not contain, and give every
replica the same numbers. The step draws the numbers of each layer that has
`draw_numbers`, and passes them through the forward context.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer import rng
from trainer.models import context


class RandomLayer(keras.layers.Layer):
    """A layer whose output in training depends on normal numbers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or not self.active:
            return x
        drawn = context.current_context().dropout_masks[self.name]
        return self.disturb(x, drawn)

    @property
    def active(self) -> bool:
        """Whether training differs from prediction."""
        return True

    def disturb(self, x: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """Computes the output in training from the numbers of `draw_numbers`."""
        raise NotImplementedError

    def draw_numbers(self, stream: rng.RandomStream, examples: int) -> tf.Tensor:
        """Draws the numbers that `disturb` needs: float32 [examples, features]."""
        features = math.prod(self.output.shape[1:])
        return stream.normal(self.name, examples=examples, features=features)


class MaskLayer(RandomLayer):
    """A layer that drops features.

    Args:
        rate: the part of the features that is dropped, in [0, 1).
        noise_shape: shape of the mask with the batch first, which is None: 1 where a
            dimension shares its mask, None where it does not. Default: the input's.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        if self.noise_shape and self.noise_shape[0] is not None:
            raise ValueError(
                f"noise_shape={self.noise_shape} must begin with None: each example "
                "has a mask of its own"
            )

    @property
    def active(self) -> bool:
        """Whether training differs from prediction."""
        return self.rate > 0

    def draw_numbers(self, stream: rng.RandomStream, examples: int) -> tf.Tensor:
        """Draws the numbers that decide the mask: float32 [examples, features]."""
        features = math.prod(self.mask_shape(self.output.shape))
        return stream.uniform(self.name, examples=examples, features=features)

    def mask_shape(self, shape: Sequence[int | None]) -> tuple[int, ...]:
        """The shape of an example's mask; `shape` is the input's with the batch."""
        if self.noise_shape is None:
            return tuple(shape[1:])
        pairs = zip(self.noise_shape[1:], shape[1:], strict=True)
        return tuple(size if limit is None else limit for limit, size in pairs)

    def shaped(self, mask: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Reshapes a mask [examples, features] so that it is broadcast to `x`."""
        if self.noise_shape is None:
            return tf.reshape(mask, tf.shape(x))
        return tf.reshape(mask, [-1, *self.mask_shape(x.shape)])

    def get_config(self) -> dict:
        config = {**super().get_config(), "rate": self.rate}
        if self.noise_shape is not None:
            config["noise_shape"] = self.noise_shape
        return config


@keras.saving.register_keras_serializable("trainer")
class StochasticDepth(MaskLayer):
    """Drops the whole branch of an example (Huang et al. 2016), scaled as dropout is.

    Put it before the addition of a residual block: float [N, ...] -> the same shape.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(rate, **kwargs)

    def mask_shape(self, shape: Sequence[int | None]) -> tuple[int, ...]:
        """A single number for each example."""
        return (1,) * (len(shape) - 1)

    def shaped(self, mask: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Reshapes a mask [examples, 1] so that it is broadcast to `x`."""
        return tf.reshape(mask, [-1, *self.mask_shape(x.shape)])

    def disturb(self, x: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """Drops where the number is below the rate, and scales up the rest."""
        kept = tf.cast(drawn >= self.rate, x.dtype) / (1 - self.rate)
        return x * self.shaped(kept, x)


ALPHA = -1.7580993408473766  # what SELU tends to for large negative x


@keras.saving.register_keras_serializable("trainer")
class AlphaDropout(MaskLayer):
    """Dropout that keeps mean and variance of SELU networks (Klambauer et al. 2017)."""

    def disturb(self, x: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """Sets dropped features to ALPHA, then restores mean 0 and variance 1."""
        kept = self.shaped(tf.cast(drawn >= self.rate, x.dtype), x)
        factor = ((1 - self.rate) * (1 + self.rate * ALPHA**2)) ** -0.5
        return factor * (x * kept + ALPHA * (1 - kept) - ALPHA * self.rate)


@keras.saving.register_keras_serializable("trainer")
class GaussianDropout(RandomLayer):
    """Multiplies by 1 + N(0, rate / (1 - rate)) (Srivastava et al. 2014, section 10).

    Args:
        rate: the rate of the dropout that has the same variance, in [0, 1).
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate

    @property
    def active(self) -> bool:
        """Whether training differs from prediction."""
        return self.rate > 0

    def disturb(self, x: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """Multiplies by 1 + noise."""
        noise = tf.reshape(tf.cast(drawn, x.dtype), tf.shape(x))
        return x * (1 + noise * math.sqrt(self.rate / (1 - self.rate)))

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("trainer")
class GaussianNoise(RandomLayer):
    """Adds normal noise.

    Args:
        stddev: its standard deviation.
    """

    def __init__(self, stddev: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stddev = stddev

    @property
    def active(self) -> bool:
        """Whether training differs from prediction."""
        return self.stddev > 0

    def disturb(self, x: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """Adds the noise."""
        return x + tf.reshape(tf.cast(drawn, x.dtype), tf.shape(x)) * self.stddev

    def get_config(self) -> dict:
        return {**super().get_config(), "stddev": self.stddev}
