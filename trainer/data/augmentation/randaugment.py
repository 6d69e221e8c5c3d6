"""RandAugment: some operators of one magnitude for each image.

Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced
search space". Of its 14 operators Equalize is left out: a histogram for each image has
no cheap deterministic kernel on GPUs.

A batch is computed at once: each operator is a row of `Parameters`, and the operator
of an image is the same chain of arithmetic with its row. The other steps of the chain
leave the image as it is.
"""

import dataclasses
import enum
import math

import numpy as np
import tensorflow as tf

from trainer.data.augmentation import color
from trainer.data.augmentation.crops import GREY, INDEX, gather_pixels
from trainer.rng import RandomStream

MOST = 10.0  # largest magnitude
ANGLE = math.radians(30)  # at the largest magnitude, as the next four
SHEAR = 0.3
SHIFT = 0.45  # of the side of the image
CHANGE = 0.9  # factors of colour, contrast, brightness and sharpness are 1 -+ CHANGE
LOST_BITS = 4  # of 8


class Operator(enum.Enum):
    """The operators, named as in the paper."""

    IDENTITY = "identity"
    AUTO_CONTRAST = "auto_contrast"
    ROTATE = "rotate"
    SOLARIZE = "solarize"
    COLOR = "color"
    POSTERIZE = "posterize"
    CONTRAST = "contrast"
    BRIGHTNESS = "brightness"
    SHARPNESS = "sharpness"
    SHEAR_X = "shear_x"
    SHEAR_Y = "shear_y"
    TRANSLATE_X = "translate_x"
    TRANSLATE_Y = "translate_y"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameters:
    """What an operator does; the defaults leave an image as it is.

    Attributes:
        xx, xy, yx, yy: matrix from offsets to the middle of the new image to those in
            the old one; `xy` is the part of the new y in the old x.
        shift_x, shift_y: added to them, of the side of the image.
        factor: of each pixel.
        mean, grey, smooth: factors of the mean brightness, of the grey and of the
            smoothed image, which are added.
        stretch: 1 where channels are stretched to 0..255.
        finer, step: pixels are rounded down to multiples of `step`, 1 / `finer`.
        threshold: pixels of at least that are inverted.
    """

    xx: float = 1.0
    xy: float = 0.0
    yx: float = 0.0
    yy: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    factor: float = 1.0
    mean: float = 0.0
    grey: float = 0.0
    smooth: float = 0.0
    stretch: float = 0.0
    finer: float = 1.0
    step: float = 1.0
    threshold: float = 256.0


def parameters(operator: Operator, magnitude: float, sign: int) -> Parameters:
    """The parameters of an operator; `sign` is 1 or -1, `magnitude` within 0..MOST."""
    part = magnitude / MOST
    signed, factor = sign * part, 1 + sign * part * CHANGE
    step = 2.0 ** round(LOST_BITS * part)
    sine, cosine = math.sin(ANGLE * signed), math.cos(ANGLE * part)
    return {
        Operator.IDENTITY: Parameters(),
        Operator.AUTO_CONTRAST: Parameters(stretch=1),
        Operator.ROTATE: Parameters(xx=cosine, xy=-sine, yx=sine, yy=cosine),
        Operator.SOLARIZE: Parameters(threshold=256 * (1 - part)),
        Operator.COLOR: Parameters(factor=factor, grey=1 - factor),
        Operator.POSTERIZE: Parameters(finer=1 / step, step=step),
        Operator.CONTRAST: Parameters(factor=factor, mean=1 - factor),
        Operator.BRIGHTNESS: Parameters(factor=factor),
        Operator.SHARPNESS: Parameters(factor=factor, smooth=1 - factor),
        Operator.SHEAR_X: Parameters(xy=signed * SHEAR),
        Operator.SHEAR_Y: Parameters(yx=signed * SHEAR),
        Operator.TRANSLATE_X: Parameters(shift_x=signed * SHIFT),
        Operator.TRANSLATE_Y: Parameters(shift_y=signed * SHIFT),
    }[operator]


def rand_augment(
    pixels: tf.Tensor, stream: RandomStream, *, count: int, magnitude: float
) -> tf.Tensor:
    """Applies `count` random operators to each image, one after the other.

    Args:
        pixels: float32 [N, H, W, C], whole numbers 0..255.
        stream: position of the batch in the random stream of the run.
        count: number of operators; one may come twice.
        magnitude: of all operators, within 0..MOST; their signs are random.

    Returns:
        Float32 [N, H, W, C], whole numbers 0..255.
    """
    choices = len(Operator)
    for layer in range(count):
        drawn = stream.uniform(
            f"augment/randaugment/{layer}", examples=pixels.shape[0], features=1
        )
        # A whole part for the operator and its sign.
        chosen = tf.cast(drawn[:, 0] * (2 * choices), INDEX)
        pixels = apply_operators(pixels, chosen // 2, chosen % 2, magnitude)
    return pixels


def apply_operators(
    pixels: tf.Tensor, operators: tf.Tensor, negative: tf.Tensor, magnitude: float
) -> tf.Tensor:
    """Applies one operator to each image.

    Args:
        pixels: float32 [N, H, W, C], whole numbers 0..255.
        operators: INDEX [N], which of `Operator`, in its order.
        negative: INDEX [N], 1 where the sign is negative.
        magnitude: within 0..MOST.

    Returns:
        Float32 [N, H, W, C], whole numbers 0..255.
    """
    rows = [
        dataclasses.astuple(parameters(operator, magnitude, sign))
        for operator in Operator
        for sign in (1, -1)
    ]
    table = tf.constant(np.array(rows, np.float32))
    picked = tf.unstack(tf.gather(table, operators * 2 + negative), axis=1)
    moved = _move(pixels, picked[:6])
    own = [tf.reshape(x, [-1, 1, 1, 1]) for x in picked[6:]]
    factor, mean, grey, smooth, stretch, finer, step, threshold = own
    moved = tf.where(stretch > 0, color.stretch_contrast(moved), moved)
    blended = color.clip(
        factor * moved
        + mean * color.mean_grey(moved)
        + grey * color.grey(moved)
        + smooth * color.smooth(moved)
    )
    rounded = tf.floor(blended * finer) * step
    return tf.where(rounded < threshold, rounded, 255 - rounded)


def _move(pixels: tf.Tensor, picked: list[tf.Tensor]) -> tf.Tensor:
    """Takes each pixel from the nearest one at its place in the old image, or grey."""
    _, height, width, _ = pixels.shape
    xx, xy, yx, yy, shift_x, shift_y = (x[:, None, None] for x in picked)
    x = tf.range(width, dtype=tf.float32)[None, None, :] + (0.5 - width / 2)
    y = tf.range(height, dtype=tf.float32)[None, :, None] + (0.5 - height / 2)
    column = tf.floor(xx * x + xy * y + shift_x * width + width / 2)
    row = tf.floor(yx * x + yy * y + shift_y * height + height / 2)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column = tf.cast(tf.clip_by_value(column, 0, width - 1), INDEX)
    row = tf.cast(tf.clip_by_value(row, 0, height - 1), INDEX)
    moved = gather_pixels(pixels, row, column)
    return tf.where(inside[..., None], moved, GREY)
