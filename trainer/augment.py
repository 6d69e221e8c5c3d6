"""uint8 rows -> a varied float batch, with numbers read at the batch's address.

Crop and flip are one gather of pixels whose coordinates are computed; outside the image
they are reflected at the border (without repeating it); He et al. 2015 have zeros
there. Cutout: DeVries & Taylor 2017.
"""

import typing

import tensorflow as tf

from trainer.config import Augment
from trainer.models.address import Address

CUTOUT_PART = 4  # the square's side is the image's divided by this
GREY = 128.0  # zero after normalisation
DRAWS = 5  # flip, shift y, shift x, cutout y, cutout x


def augment(
    images: tf.Tensor, how: Augment, address: Address, *, crop_pixels: int = 4
) -> tf.Tensor:
    """uint8 [N, H, W, C] -> float32 [N, H, W, C] of whole numbers 0..255."""
    pixels = tf.cast(images, tf.float32)
    if how is Augment.NONE:
        return pixels
    drawn = draw(address, images.shape[0])
    moved = move(pixels, *turn(drawn, how, crop_pixels))
    return _cutout(moved, drawn) if how is Augment.FLIP_CROP_CUTOUT else moved


def draw(address: Address, examples: int) -> tf.Tensor:
    """The numbers that decide how each example is varied, float32 [N, DRAWS]."""
    return address.uniform("augment", examples=examples, features=DRAWS)


def turn(
    drawn: tf.Tensor, how: Augment, crop_pixels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether to mirror, bool [N], and shifts down and right, int32 [N, 2]."""
    flip = tf.zeros([drawn.shape[0]], tf.bool)
    shift = tf.zeros([drawn.shape[0], 2], tf.int32)
    match how:
        case Augment.NONE:
            pass
        case Augment.FLIP:
            flip = drawn[:, 0] < 0.5
        case Augment.CROP:
            shift = _shift(drawn, crop_pixels)
        case Augment.FLIP_CROP | Augment.FLIP_CROP_CUTOUT:
            flip, shift = drawn[:, 0] < 0.5, _shift(drawn, crop_pixels)
        case _:
            typing.assert_never(how)
    return flip, shift


def _shift(drawn: tf.Tensor, pixels: int) -> tf.Tensor:
    """int32 [N, 2], each within -pixels..pixels."""
    return tf.cast(drawn[:, 1:3] * (2 * pixels + 1), tf.int32) - pixels


def move(pixels: tf.Tensor, flip: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Float [N, H, W, C] shifted by int32 [N, 2], then mirrored where bool [N] says."""
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
