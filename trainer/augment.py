"""uint8 rows -> a varied float batch, with numbers read at the batch's address.

Crop and flip are one gather of pixels whose coordinates are computed; outside the image
they are reflected at the border (without repeating it); He et al. 2015 have zeros
there. Cutout: DeVries & Taylor 2017.
"""

import typing

import tensorflow as tf

from trainer.config import Augment
from trainer.models.address import Address

CROP_PIXELS = 4  # largest shift in each direction
CUTOUT_PART = 4  # the square's side is the image's divided by this
GREY = 128.0  # zero after normalisation
DRAWS = 5  # flip, shift y, shift x, cutout y, cutout x


def augment(images: tf.Tensor, how: Augment, address: Address) -> tf.Tensor:
    """uint8 [N, H, W, C] -> float32 [N, H, W, C] of whole numbers 0..255."""
    pixels = tf.cast(images, tf.float32)
    if how is Augment.NONE:
        return pixels
    drawn = address.uniform("augment", examples=images.shape[0], features=DRAWS)
    flip = tf.zeros([images.shape[0]], tf.bool)
    shift = tf.zeros([images.shape[0], 2], tf.int32)
    match how:
        case Augment.FLIP:
            flip = drawn[:, 0] < 0.5
        case Augment.CROP:
            shift = _shift(drawn)
        case Augment.FLIP_CROP | Augment.FLIP_CROP_CUTOUT:
            flip, shift = drawn[:, 0] < 0.5, _shift(drawn)
        case _:
            typing.assert_never(how)
    moved = _move(pixels, flip, shift)
    return _cutout(moved, drawn) if how is Augment.FLIP_CROP_CUTOUT else moved


def _shift(drawn: tf.Tensor) -> tf.Tensor:
    """int32 [N, 2], each within -CROP_PIXELS..CROP_PIXELS."""
    return tf.cast(drawn[:, 1:3] * (2 * CROP_PIXELS + 1), tf.int32) - CROP_PIXELS


def _move(pixels: tf.Tensor, flip: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    count, height, width, channels = pixels.shape
    rows = _reflect(tf.range(height)[None] + shift[:, :1], height)
    columns = _reflect(tf.range(width)[None] + shift[:, 1:], width)
    columns = tf.where(flip[:, None], width - 1 - columns, columns)
    image = tf.range(count)[:, None, None]
    source = (image * height + rows[:, :, None]) * width + columns[:, None, :]
    flat = tf.reshape(pixels, [count * height * width, channels])
    return tf.reshape(tf.gather(flat, source), pixels.shape)


def _reflect(coordinate: tf.Tensor, size: int) -> tf.Tensor:
    """Folds coordinates into 0..size-1; images narrower than the shift are clamped."""
    folded = tf.abs(coordinate)
    folded = tf.where(folded >= size, 2 * (size - 1) - folded, folded)
    return tf.clip_by_value(folded, 0, size - 1)


def _cutout(pixels: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Greys a square around a drawn centre; near the border it is cut off."""
    inside = []
    for axis, draw in ((1, drawn[:, 3]), (2, drawn[:, 4])):
        size = pixels.shape[axis]
        side = max(1, size // CUTOUT_PART)
        start = tf.cast(draw * size, tf.int32) - side // 2
        at = tf.range(size)[None] - start[:, None]
        inside.append((at >= 0) & (at < side))
    hole = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return tf.where(hole, GREY, pixels)
