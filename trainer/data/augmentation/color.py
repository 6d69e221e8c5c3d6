"""Changes of brightness, contrast, saturation and sharpness, as in Pillow.

Pixels are float32 [N, H, W, C] of whole numbers 0..255, before and after. Nothing
depends on the rounding of a division: Eigen's vectorised reciprocal of 16 is not 1/16,
that of the last elements of a vector is, so that the place of an image in its part of
the batch would change pixels.
"""

import math

import tensorflow as tf

from trainer.rng import RandomStream

# Luma of ITU-R BT.601 in parts of 65536: the whole sum is exact in float32.
RED, GREEN, BLUE, ONE = 19595, 38470, 7471, 65536
SMOOTH_CENTRE = 5  # weight of a pixel in Pillow's filter SMOOTH; its neighbours have 1


def jitter(pixels: tf.Tensor, stream: RandomStream, strength: float) -> tf.Tensor:
    """Changes brightness, then contrast, then saturation of each image at random.

    Howard 2013, "Some improvements on deep convolutional neural network based image
    classification": each is multiplied by a number within 1 - `strength` and 1 +
    `strength`. Grey images have no saturation.
    """
    count = pixels.shape[0]
    drawn = stream.uniform("augment/color_jitter", examples=count, features=3)
    factors = 1 + strength * (2 * drawn - 1)
    bright, contrast, saturation = (
        tf.reshape(factor, [count, 1, 1, 1]) for factor in tf.unstack(factors, axis=1)
    )
    pixels = clip(bright * pixels)
    pixels = clip(contrast * pixels + (1 - contrast) * mean_grey(pixels))
    return clip(saturation * pixels + (1 - saturation) * grey(pixels))


def clip(pixels: tf.Tensor) -> tf.Tensor:
    """Rounds to whole numbers and limits to 0..255."""
    return tf.clip_by_value(tf.round(pixels), 0, 255)


def grey(pixels: tf.Tensor) -> tf.Tensor:
    """Computes the brightness of each pixel: whole numbers [N, H, W, 1]."""
    if pixels.shape[3] == 3:
        red, green, blue = tf.split(pixels, 3, axis=3)
        weighted = RED * red + GREEN * green + BLUE * blue
        return tf.floor((weighted + ONE // 2) * (1 / ONE))
    return _rounded_mean(pixels, [3])


def mean_grey(pixels: tf.Tensor) -> tf.Tensor:
    """Computes the mean brightness of each image: whole numbers [N, 1, 1, 1]."""
    return _rounded_mean(grey(pixels), [1, 2, 3])


def _rounded_mean(pixels: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """Averages whole numbers over `axes`, which stay as 1; a half is rounded up.

    A sum in float64 is exact in any order, and means are far from where `floor` jumps.
    """
    total = tf.reduce_sum(tf.cast(pixels, tf.float64), axes, keepdims=True)
    count = math.prod(pixels.shape[axis] for axis in axes)
    return tf.cast(tf.floor((total + count / 2 + 0.25) * (1 / count)), tf.float32)


def smooth(pixels: tf.Tensor) -> tf.Tensor:
    """Averages each pixel with its neighbours; pixels at the border stay."""
    height, width = pixels.shape[1:3]
    if min(height, width) < 3:
        return pixels
    rows = pixels[:, :-2] + pixels[:, 1:-1] + pixels[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inner = pixels[:, 1:-1, 1:-1]
    more = SMOOTH_CENTRE - 1
    means = tf.round((total + more * inner) * (1 / (SMOOTH_CENTRE + 8)))
    return pixels + tf.pad(means - inner, [[0, 0], [1, 1], [1, 1], [0, 0]])


def stretch_contrast(pixels: tf.Tensor) -> tf.Tensor:
    """Stretches each channel of each image to 0..255 (Pillow's autocontrast)."""
    low, high = (
        reduce(pixels, [1, 2], keepdims=True)
        for reduce in (tf.reduce_min, tf.reduce_max)
    )
    stretched = (pixels - low) * (255 / tf.maximum(high - low, 1))
    # Multiples of 1 / 255 at least, so that no error of a division reaches `floor`.
    return tf.where(high > low, tf.floor(stretched + (0.5 + 2**-10)), pixels)
