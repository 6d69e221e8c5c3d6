"""Crops of random size that are resized, and progressive resizing."""

import math

import numpy as np
import tensorflow as tf

from trainer.data.augmentation import quantiles
from trainer.rng import RandomStream

ASPECT = 4 / 3  # width : height of a crop is within 1 / ASPECT and ASPECT
ATTEMPTS = 10  # boxes drawn for an image; the first that fits into it is taken
STEPS = 256  # in which weights of pixels are rounded


def random_resized_crop(
    pixels: tf.Tensor,
    stream: RandomStream,
    min_area: float,
    mirrors: bool,
    *,
    mirror: tf.Tensor | None = None,
) -> tf.Tensor:
    """Crops a random part of each image and resizes it to the size of the image.

    Szegedy et al. 2015, "Going deeper with convolutions": area uniform within
    `min_area`..1 of the image, logarithm of the aspect uniform within 3/4..4/3.

    Args:
        pixels: float32 [N, H, W, C], whole numbers 0..255.
        stream: position of the batch in the random stream of the run.
        min_area: smallest area, of 1.
        mirrors: whether a random half of the images is mirrored.
        mirror: bool [N], the images to mirror instead of those.

    Returns:
        Float32 [N, H, W, C], whole numbers 0..255.
    """
    count, height, width, _ = pixels.shape
    drawn = stream.uniform(
        "augment/resized_crop", examples=count, features=3 + 2 * ATTEMPTS
    )
    if mirror is None:
        mirror = drawn[:, 0] < (0.5 if mirrors else 0.0)
    boxes = crop_boxes(drawn[:, 1:], (height, width), min_area)
    return resize_boxes(pixels, boxes, mirror)


def crop_boxes(drawn: tf.Tensor, size: tuple[int, int], min_area: float) -> tf.Tensor:
    """Turns uniform numbers into boxes: float32 [N, 4] of top, left, height, width.

    Where no attempt fits into the image, the box is the largest in the middle of it
    that has an allowed aspect (as in torchvision).

    Args:
        drawn: float32 [N, 2 + 2 * ATTEMPTS]: place of the box, then areas and aspects.
        size: height and width of the images in pixels.
        min_area: smallest area, of 1.
    """
    height, width = size
    area, aspect = drawn[:, 2 : 2 + ATTEMPTS], drawn[:, 2 + ATTEMPTS :]
    whole, limit = math.sqrt(height * width), math.log(ASPECT)

    def side(share: np.ndarray) -> np.ndarray:
        return whole * np.sqrt(min_area + (1 - min_area) * share)

    def stretch(share: np.ndarray) -> np.ndarray:
        return np.exp((share - 0.5) * limit)

    root = quantiles.interpolate(quantiles.tabulate(side), area)
    wider = quantiles.interpolate(quantiles.tabulate(stretch), aspect)
    lower = quantiles.interpolate(quantiles.tabulate(lambda x: 1 / stretch(x)), aspect)
    heights, widths = root * lower, root * wider
    fits = tf.cast((heights <= height) & (widths <= width), tf.float32)
    first = tf.one_hot(tf.argmax(fits, 1), ATTEMPTS)
    fitting = tf.reduce_max(fits, 1) > 0
    most = min(height, width * ASPECT), min(width, height * ASPECT)
    boxed = [
        tf.where(fitting, tf.reduce_sum(first * sides, 1), largest)
        for sides, largest in zip((heights, widths), most, strict=True)
    ]
    place = tf.where(fitting[:, None], drawn[:, :2], 0.5)
    free = tf.constant([height, width], tf.float32) - tf.stack(boxed, 1)
    return tf.concat([place * free, tf.stack(boxed, 1)], 1)


def resize_boxes(pixels: tf.Tensor, boxes: tf.Tensor, mirror: tf.Tensor) -> tf.Tensor:
    """Resizes a box of each image to the size of the image, and mirrors some.

    A box is never larger than its image, so that linear interpolation loses nothing.
    Rows and columns are two products of matrices, rounded after each as in Pillow;
    weights are multiples of 1 / 256, so that sums are exact in any order and on any
    device.

    Args:
        pixels: float32 [N, H, W, C], whole numbers 0..255.
        boxes: float32 [N, 4]: top, left, height and width in pixels.
        mirror: bool [N], the images to mirror.

    Returns:
        Float32 [N, H, W, C], whole numbers 0..255.
    """
    _, height, width, _ = pixels.shape
    across = _weights(boxes[:, 1], boxes[:, 3], width)
    across = tf.where(mirror[:, None, None], tf.reverse(across, [1]), across)
    narrow = tf.round(tf.einsum("nhwc,nxw->nhxc", pixels, across))
    down = _weights(boxes[:, 0], boxes[:, 2], height)
    return tf.round(tf.einsum("nhxc,nyh->nyxc", narrow, down))


def _weights(start: tf.Tensor, length: tf.Tensor, size: int) -> tf.Tensor:
    """Weight [N, size, size] of each old pixel in each new one, along an axis."""
    middle = tf.constant((np.arange(size) + 0.5) / size, tf.float32)
    at = start[:, None] + length[:, None] * middle - 0.5
    at = tf.clip_by_value(at, 0, size - 1)
    below = tf.floor(at)
    share = tf.round((at - below) * STEPS) * (1 / STEPS)
    old = tf.range(size, dtype=tf.float32)
    distance = old - (below + share)[:, :, None]
    return tf.maximum(1 - tf.abs(distance), 0)


def area_resize(images: tf.Tensor, side: int) -> tf.Tensor:
    """Resizes float [N, H, W, C] to [N, side, side, C]; a pixel is a mean of an area.

    Training on small images first is progressive resizing (Howard 2018, DAWNBench). Two
    products of matrices, since tf.image's own resizing has no deterministic GPU kernel.
    """
    down, across = (_cover(size, side) for size in images.shape[1:3])
    narrow = tf.einsum("nhwc,wx->nhxc", images, tf.constant(across, images.dtype))
    return tf.einsum("nhxc,hy->nyxc", narrow, tf.constant(down, images.dtype))


def _cover(size: int, side: int) -> np.ndarray:
    """Weight [size, side] of each of `size` pixels in each of `side` larger ones."""
    edge = np.arange(side + 1) * size / side
    pixel = np.arange(size)[:, None]
    share = np.minimum(pixel + 1, edge[1:]) - np.maximum(pixel, edge[:-1])
    return np.maximum(share, 0) * side / size
