"""Whitening: a first convolution whose filters are computed from the images."""

import keras
import numpy as np
import tensorflow as tf

SIZE = 2  # pixels of a patch, in height and width
FLAT = 1e-6  # of the largest eigenvalue: such a direction is noise of rounding
FLOOR = 1.25e-4  # added to the eigenvalues; variances of pixels in -1..1 are about 0.25


@keras.saving.register_keras_serializable("trainer")
class Whitening(keras.layers.Layer):
    """Convolution 2x2 that decorrelates patches (Page 2019; Jordan 2024, section 3.2).

    Its filters are the eigenvectors of the patches' covariance, each divided by the
    root of its eigenvalue, and their negatives: float [N, H, W, C] ->
    [N, H - 1, W - 1, 8 C]. Nothing of it is trained once `adapt` has seen images.

    Args:
        fitted: False leaves the filters random, and trains them.
    """

    def __init__(self, fitted: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.fitted = fitted

    def build(self, shape: tuple) -> None:
        count = 2 * SIZE * SIZE * shape[-1]
        self.kernel = self.add_weight(
            shape=(SIZE, SIZE, shape[-1], count),
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
        """Sets the filters from float [N, H, W, C], as the layer sees images."""
        if self.fitted:
            kernel, bias = filters(images)
            self.kernel.assign(kernel)
            self.bias.assign(bias)

    def get_config(self) -> dict:
        return {**super().get_config(), "fitted": self.fitted}


def filters(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [2, 2, C, 8 C] and bias [8 C] that whiten and centre patches.

    The same images give the same bits: sums are float64, and an eigenvector's sign,
    which no decomposition fixes, makes its largest element positive.
    """
    channels = images.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(images, (SIZE, SIZE), (1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, SIZE * SIZE * channels)
    patches = patches.astype(np.float64)
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches.T))
    # Grey images vary in a third of the directions: those are used several times.
    live = np.flatnonzero(values > FLAT * values.max())[::-1]
    order = np.resize(live, len(values))
    vectors = vectors[:, order] / np.sqrt(values[order] + FLOOR)
    largest = np.abs(vectors).argmax(axis=0)
    vectors *= np.sign(vectors[largest, np.arange(vectors.shape[1])])
    both = np.concatenate([vectors, -vectors], axis=1)
    return both.reshape(SIZE, SIZE, channels, -1), -mean @ both
