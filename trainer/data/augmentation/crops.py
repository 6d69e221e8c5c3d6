"""Flip, crop and cutout of a batch.

Crop and flip are one gather of pixels whose coordinates are computed; outside the image
they are reflected at the border (without repeating it), where He et al. 2015 have
zeros. Cutout is DeVries & Taylor 2017.
"""

import numpy as np
import tensorflow as tf

from trainer.config.enums import Augment
from trainer.rng import RandomStream

CUTOUT_PART = 4  # the square's side is the image's divided by this
GREY = 128.0  # zero after normalisation
FLIP_KEY = 0xF11B  # keeps these draws apart from those of the rows' order
DRAWS = 5  # flip, shift y, shift x, cutout y, cutout x
# Of numbers that a device computes. GPU kernels of int32 arithmetic work in the host's
# memory: the GPU would wait for copies there and back.
INDEX = tf.int64


def sample(stream: RandomStream, examples: int) -> tf.Tensor:
    """Draws the numbers that decide each example's augmentation, float32 [N, DRAWS]."""
    return stream.uniform("augment", examples=examples, features=DRAWS)


class AlternatingFlip:
    """Mirrors half of the images in one epoch and the other half in the next.

    Two epochs together show every image both ways (Jordan 2024, arXiv:2404.00498,
    section 3.6). The seed decides which half is first.
    """

    def __init__(self, *, examples: int, epoch_images: int, seed: int) -> None:
        generator = np.random.Generator(np.random.Philox(key=[seed, FLIP_KEY]))
        self._first = generator.integers(0, 2, examples)
        self._epoch_images = epoch_images

    def __call__(self, rows: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        """Decides which images to mirror: bool [n].

        Args:
            rows: int [n], dataset rows.
            first: int64 [], images of the training before the first of `rows`.
        """
        number = first + tf.range(rows.shape[0], dtype=tf.int64)
        epoch = number // self._epoch_images
        return (tf.gather(tf.constant(self._first), rows) + epoch) % 2 == 1


def sample_flip_shift(
    drawn: tf.Tensor, how: Augment, crop_pixels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decides which images to mirror, bool [N], and how to shift, INDEX [N, 2].

    Shifts are down and right.
    """
    flip = tf.zeros([drawn.shape[0]], tf.bool)
    shift = tf.zeros([drawn.shape[0], 2], INDEX)
    if how.mirrors:
        flip = drawn[:, 0] < 0.5
    if how.crops:
        shift = _shift(drawn, crop_pixels)
    return flip, shift


def _shift(drawn: tf.Tensor, pixels: int) -> tf.Tensor:
    """INDEX [N, 2], each within -pixels..pixels."""
    return tf.cast(drawn[:, 1:3] * (2 * pixels + 1), INDEX) - pixels


def shift_and_flip(pixels: tf.Tensor, flip: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Shifts float [N, H, W, C] by INDEX [N, 2], then mirrors where bool [N] is set."""
    _, height, width, _ = pixels.shape
    rows = _reflect(tf.range(height, dtype=INDEX)[None] + shift[:, :1], height)
    columns = _reflect(tf.range(width, dtype=INDEX)[None] + shift[:, 1:], width)
    columns = tf.where(flip[:, None], width - 1 - columns, columns)
    return gather_pixels(pixels, rows[:, :, None], columns[:, None, :])


def gather_pixels(pixels: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Takes each pixel of [N, H, W, C] from a row and a column of its own image.

    `rows` and `columns` are INDEX, and together of the shape [N, H, W].
    """
    count, height, width, channels = pixels.shape
    image = tf.range(count, dtype=INDEX)[:, None, None]
    source = (image * height + rows) * width + columns
    flat = tf.reshape(pixels, [count * height * width, channels])
    return tf.reshape(tf.gather(flat, source), pixels.shape)


def _reflect(coordinate: tf.Tensor, size: int) -> tf.Tensor:
    """Folds coordinates into 0..size-1; images narrower than the shift are clamped."""
    folded = tf.abs(coordinate)
    folded = tf.where(folded >= size, 2 * (size - 1) - folded, folded)
    return tf.clip_by_value(folded, 0, size - 1)


def cutout(pixels: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Sets a square around a random centre to grey; the border cuts it off.

    `pixels` are float [N, H, W, C], `drawn` what `sample` gave.
    """
    inside = []
    for axis, centre in ((1, drawn[:, 3]), (2, drawn[:, 4])):
        size = pixels.shape[axis]
        side = max(1, size // CUTOUT_PART)
        start = tf.cast(centre * size, INDEX) - side // 2
        at = tf.range(size, dtype=INDEX)[None] - start[:, None]
        inside.append((at >= 0) & (at < side))
    hole = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return tf.where(hole, GREY, pixels)
