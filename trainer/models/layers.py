"""Layers: normalisation of pixels, stateless dropout, fused batch normalisation."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.models import context, noise
from trainer.models.noise import AlphaDropout as AlphaDropout
from trainer.models.noise import GaussianDropout as GaussianDropout
from trainer.models.noise import GaussianNoise as GaussianNoise
from trainer.models.noise import StochasticDepth as StochasticDepth
from trainer.models.normalization import PIXEL_MEAN, PIXEL_STD


@keras.saving.register_keras_serializable("trainer")
class Normalise(keras.layers.Layer):
    """Normalises pixels 0..255 to (x - 128) / 128."""

    def call(self, pixels: tf.Tensor) -> tf.Tensor:
        return (tf.cast(pixels, self.compute_dtype) - PIXEL_MEAN) / PIXEL_STD


@keras.saving.register_keras_serializable("trainer")
class Logits(keras.layers.Layer):
    """Casts to the dtype of the variables: float32 logits from a bfloat16 network."""

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.cast(logits, self.variable_dtype)


@keras.saving.register_keras_serializable("trainer")
class Affine(keras.layers.Layer):
    """Computes scale * x + offset per channel, on channels in reverse order if asked.

    It is the first layer of an adapted Keras model that takes pixels 0..255, and does
    what the model's own Rescaling or Normalization would do with them. It computes in
    the dtype of variables, as the two terms may cancel.

    Args:
        scale, offset: a number for each channel, after the reversal; or one for all.
        reverse: whether the order of channels is reversed (RGB to BGR).
    """

    def __init__(
        self,
        scale: Sequence[float],
        offset: Sequence[float],
        reverse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scale, self.offset, self.reverse = list(scale), list(offset), reverse

    def call(self, x: tf.Tensor) -> tf.Tensor:
        wide = tf.cast(x, self.variable_dtype)
        if self.reverse:
            wide = wide[..., ::-1]
        scaled = wide * tf.constant(self.scale, wide.dtype)
        return tf.cast(
            scaled + tf.constant(self.offset, wide.dtype), self.compute_dtype
        )

    def get_config(self) -> dict:
        words = {"scale": self.scale, "offset": self.offset, "reverse": self.reverse}
        return {**super().get_config(), **words}


@keras.saving.register_keras_serializable("trainer")
class Dropout(noise.MaskLayer):
    """Dropout (Srivastava et al. 2014) that depends on seed, step and position only.

    Args:
        rate: the part of the features that is dropped, in [0, 1).
        noise_shape: shape of the mask with the batch first, which is None: 1 where a
            dimension shares its mask, None where it does not. Default: the input's
            shape. (None, 1, 1, None) drops whole channels (Tompson et al. 2015).
    """

    def disturb(self, x: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """Drops where the number is below the rate, and scales up the rest."""
        kept = tf.cast(drawn >= self.rate, x.dtype) / (1 - self.rate)
        return x * self.shaped(kept, x)


@keras.saving.register_keras_serializable("trainer")
class BatchNorm(keras.layers.Layer):
    """Batch normalisation (Ioffe & Szegedy 2015) of the last axis, the fused kernel.

    Keras 3's own layer is not fused: on two CPU cores a training step of resnet8 is 1.6
    (float32) to 1.9 (bfloat16) times faster with this one. This layer does not assign
    moving statistics: it puts batch statistics into the forward context, and the step
    averages them over replicas, so that every replica has the same ones. A frozen layer
    (`trainable` is False, or the context names it) uses its moving statistics and
    leaves them as they are.

    Args:
        momentum: momentum of the moving statistics.
        epsilon: added to the variance.
        scale: whether gamma is trained; if not, it stays `gain`.
        gain: initial value of gamma; None: there is no gamma, which is 1.
        synchronized: whether batch statistics are those of the global batch.
        center: whether there is a beta; without, it is 0.
        inference: whether training uses and keeps the moving statistics, too, while
            gamma and beta are trained.
    """

    def __init__(
        self,
        *,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        scale: bool = True,
        gain: float | None = 1.0,
        synchronized: bool = False,
        center: bool = True,
        inference: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon
        self.scale, self.gain, self.synchronized = scale, gain, synchronized
        self.center, self.inference = center, inference

    def build(self, shape: tuple) -> None:
        def weight(name: str, initial: Any, trainable: bool) -> keras.Variable:
            return self.add_weight(
                shape=(shape[-1],),
                name=name,
                initializer=initial,
                trainable=trainable,
                autocast=False,
            )

        self.gamma = self.beta = None
        if self.gain is not None:
            gain = keras.initializers.Constant(self.gain)
            self.gamma = weight("gamma", gain, self.scale)
        if self.center:
            self.beta = weight("beta", "zeros", True)
        self.moving_mean = weight("moving_mean", "zeros", False)
        self.moving_variance = weight("moving_variance", "ones", False)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if len(x.shape) == 4:
            return self._call(x, training)
        channels = self.moving_mean.shape[0]  # the kernel's images have four axes
        middle = math.prod(x.shape[1:-1])
        flat = tf.reshape(x, [-1, middle, 1, channels])
        return tf.reshape(self._call(flat, training), tf.shape(x))

    def _call(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        if not training or self._frozen:
            mean, variance = self.moving_mean.value, self.moving_variance.value
            # The fused kernel with given statistics has no float64, and on a GPU no
            # deterministic gradient.
            on_gpu = tf.config.get_visible_devices("GPU")
            if x.dtype == tf.float64 or (training and on_gpu):
                return self._normalise(x, mean, variance)
            return self._normalise_fused(x, mean, variance)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if x.dtype == tf.float64 or (self.synchronized and replicas > 1):
            mean, biased = self._moments(x)
            y = self._normalise(x, mean, biased)
            count = math.prod(x.shape[:3]) * (replicas if self.synchronized else 1)
            variance = biased * (count / max(1, count - 1))  # as the fused kernel does
        else:
            y, mean, variance = self._fused(x)
        statistics = context.current_context().statistics
        statistics[self.moving_mean.path] = mean
        statistics[self.moving_variance.path] = variance
        return y

    @property
    def _moves(self) -> bool:
        return self.trainable and not self.inference

    @property
    def moving(self) -> list[keras.Variable]:
        """The moving mean and the moving variance; none of a layer that never moves."""
        return [self.moving_mean, self.moving_variance] if self._moves else []

    @property
    def _frozen(self) -> bool:
        return not self._moves or self.name in context.current_context().frozen

    @property
    def _factors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Gamma and beta."""
        shape, dtype = self.moving_mean.shape, self.variable_dtype
        return (
            tf.ones(shape, dtype) if self.gamma is None else self.gamma.value,
            tf.zeros(shape, dtype) if self.beta is None else self.beta.value,
        )

    def _fused(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        empty, (gamma, beta) = tf.zeros([0], tf.float32), self._factors
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=empty,
            variance=empty,
            epsilon=self.epsilon,
            is_training=True,
        )
        return y, mean, variance

    def _normalise(
        self, x: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
    ) -> tf.Tensor:
        gamma, beta = self._factors
        wide = tf.cast(x, self.variable_dtype)
        scale = tf.math.rsqrt(variance + self.epsilon) * gamma
        return tf.cast((wide - mean) * scale + beta, x.dtype)

    def _normalise_fused(
        self, x: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
    ) -> tf.Tensor:
        gamma, beta = self._factors
        y, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            is_training=False,
        )
        return y

    def _moments(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes mean and biased variance [C], over all replicas if synchronized.

        It needs two passes: E[x^2] - E[x]^2 loses all precision if the mean is large.
        """
        wide = tf.cast(x, self.variable_dtype)
        mean = self._over_replicas(tf.reduce_mean(wide, [0, 1, 2]))
        variance = tf.reduce_mean(tf.square(wide - mean), [0, 1, 2])
        return mean, self._over_replicas(variance)

    def _over_replicas(self, value: tf.Tensor) -> tf.Tensor:
        if not self.synchronized:
            return value
        replica = tf.distribute.get_replica_context()
        return replica.all_reduce(tf.distribute.ReduceOp.MEAN, value)

    def get_config(self) -> dict:
        config = {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "scale": self.scale,
            "gain": self.gain,
            "synchronized": self.synchronized,
        }
        # The description of an older network has neither of them.
        added = {} if self.center else {"center": False}
        return {**config, **added, **({"inference": True} if self.inference else {})}


@keras.saving.register_keras_serializable("trainer")
class Scale(keras.layers.Layer):
    """Multiplies by a constant."""

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.factor

    def get_config(self) -> dict:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("trainer")
class Dirac(keras.initializers.Initializer):
    """Initializer of kernels that copy input channel i to output channel i.

    Further output channels are initialised by `rest`. See Zagoruyko & Komodakis 2017
    (DiracNets) and Jordan 2024, section 3.3.
    """

    def __init__(self, rest: keras.initializers.Initializer) -> None:
        self.rest = rest

    def __call__(self, shape: tuple, dtype: str | None = None) -> tf.Tensor:
        """Creates a kernel [H, W, C, D]; H and W are odd."""
        height, width, channels, count = shape
        passed = min(channels, count)
        dirac = np.zeros((height, width, channels, passed))
        each = np.arange(passed)
        dirac[height // 2, width // 2, each, each] = 1
        drawn = tf.convert_to_tensor(self.rest(shape, dtype=dtype))
        return tf.concat([tf.constant(dirac, drawn.dtype), drawn[..., passed:]], axis=3)

    def get_config(self) -> dict:
        return {"rest": keras.initializers.serialize(self.rest)}

    @classmethod
    def from_config(cls, config: dict) -> "Dirac":
        return cls(keras.initializers.deserialize(config["rest"]))


def scaled(channels: int, width: float) -> int:
    """Multiplies `channels` by `width`, rounded to a multiple of 4, at least 4."""
    return max(4, 4 * round(channels * width / 4))


PATCH_SIZE = 2  # pixels of a patch, in height and width
FLAT_VARIANCE = 1e-6  # eigenvalues below this part of the largest are rounding errors
VARIANCE_FLOOR = (
    1.25e-4  # added to the eigenvalues; variances of pixels in -1..1 are about 0.25
)


@keras.saving.register_keras_serializable("trainer")
class Whitening(keras.layers.Layer):
    """2x2 convolution that decorrelates patches (Page 2019; Jordan 2024, section 3.2).

    Its filters are the eigenvectors of the covariance of patches, each divided by the
    square root of its eigenvalue, and their negatives: float [N, H, W, C] ->
    [N, H - 1, W - 1, 8 C]. The filters are computed by `adapt` and not trained.

    Args:
        fitted: whether `adapt` computes the filters; if not, they start at random
            values and are trained.
    """

    def __init__(self, fitted: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fitted = fitted

    def build(self, shape: tuple) -> None:
        count = 2 * PATCH_SIZE * PATCH_SIZE * shape[-1]
        self.kernel = self.add_weight(
            shape=(PATCH_SIZE, PATCH_SIZE, shape[-1], count),
            name="kernel",
            initializer="he_normal",
            trainable=not self.fitted,
        )
        self.bias = self.add_weight(
            shape=(count,), name="bias", initializer="zeros", trainable=not self.fitted
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.kernel, x.dtype)
        patches = tf.nn.conv2d(x, kernel, strides=1, padding="VALID")
        return tf.nn.bias_add(patches, tf.cast(self.bias, x.dtype))

    def adapt(self, images: np.ndarray) -> None:
        """Computes the filters from normalised images, float [N, H, W, C]."""
        if self.fitted:
            kernel, bias = filters(images)
            self.kernel.assign(kernel)
            self.bias.assign(bias)

    def get_config(self) -> dict:
        return {**super().get_config(), "fitted": self.fitted}


def filters(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes kernel [2, 2, C, 8 C] and bias [8 C] that whiten and centre patches.

    The same images give the same bits: sums are float64, and the sign of an
        eigenvector,
    which is arbitrary, is chosen so that its largest element is positive.
    """
    channels = images.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(
        images, (PATCH_SIZE, PATCH_SIZE), (1, 2)
    )
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(
        -1, PATCH_SIZE * PATCH_SIZE * channels
    )
    patches = patches.astype(np.float64)
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches.T))
    # Grey images vary in a third of the directions only: these are used repeatedly.
    live = np.flatnonzero(values > FLAT_VARIANCE * values.max())[::-1]
    order = np.resize(live, len(values))
    vectors = vectors[:, order] / np.sqrt(values[order] + VARIANCE_FLOOR)
    largest = np.abs(vectors).argmax(axis=0)
    vectors *= np.sign(vectors[largest, np.arange(vectors.shape[1])])
    both = np.concatenate([vectors, -vectors], axis=1)
    return both.reshape(PATCH_SIZE, PATCH_SIZE, channels, -1), -mean @ both
