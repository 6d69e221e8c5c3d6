"""Augmentation: flip, crop and cutout of a batch, from a stateless random stream.

Crop and flip are one gather of pixels whose coordinates are computed; outside the image
they are reflected at the border (without repeating it), where He et al. 2015 have
zeros. Cutout is DeVries & Taylor 2017.
"""

import dataclasses
import typing

import numpy as np
import tensorflow as tf

from trainer.config.enums import Augment
from trainer.config.schema import DataConfig
from trainer.rng import RandomStream

CUTOUT_PART = 4  # the square's side is the image's divided by this
GREY = 128.0  # zero after normalisation
FLIP_KEY = 0xF11B  # keeps these draws apart from those of the rows' order
DRAWS = 5  # flip, shift y, shift x, cutout y, cutout x


def augment(
    images: tf.Tensor,
    how: Augment,
    stream: RandomStream,
    *,
    crop_pixels: int = 4,
    mirror: tf.Tensor | None = None,
) -> tf.Tensor:
    """Augments uint8 [N, H, W, C]; returns float32 of whole numbers 0..255.

    Args:
        images: uint8 [N, H, W, C].
        how: which augmentations.
        stream: position of the batch in the random stream of the run.
        crop_pixels: largest shift of a crop.
        mirror: bool [N], which images to mirror; None: a random half of them, where
            `how` mirrors.
    """
    pixels = tf.cast(images, tf.float32)
    if how is Augment.NONE:
        return pixels
    drawn = sample(stream, images.shape[0])
    flip, shift = sample_flip_shift(drawn, how, crop_pixels)
    moved = shift_and_flip(pixels, flip if mirror is None else mirror, shift)
    return _cutout(moved, drawn) if how is Augment.FLIP_CROP_CUTOUT else moved


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


def sample_flip_shift(
    drawn: tf.Tensor, how: Augment, crop_pixels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decides which images to mirror, bool [N], and how to shift, int32 [N, 2].

    Shifts are down and right.
    """
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


def shift_and_flip(pixels: tf.Tensor, flip: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Shifts float [N, H, W, C] by int32 [N, 2], then mirrors where bool [N] is set."""
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
    """Sets a square around a random centre to grey; the border cuts it off."""
    inside = []
    for axis, centre in ((1, drawn[:, 3]), (2, drawn[:, 4])):
        size = pixels.shape[axis]
        side = max(1, size // CUTOUT_PART)
        start = tf.cast(centre * size, tf.int32) - side // 2
        at = tf.range(size)[None] - start[:, None]
        inside.append((at >= 0) & (at < side))
    hole = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return tf.where(hole, GREY, pixels)


@dataclasses.dataclass(frozen=True)
class AugmentationIndex:
    """Numbers the views that `augment` without cutout can give of an image.

    A view is mirrored or not and shifted down and right. Its number is
    (flip * S + down + crop_pixels) * S + right + crop_pixels with S shifts in each
    direction.

    Attributes:
        how: the augmentation.
        crop_pixels: its largest shift.
    """

    how: Augment
    crop_pixels: int

    @classmethod
    def from_config(cls, config: DataConfig) -> "AugmentationIndex":
        """The views that the augmentation of `config` can give."""
        return cls(config.augment, config.crop_pixels)

    @property
    def _largest(self) -> int:
        return 0 if self.how in (Augment.NONE, Augment.FLIP) else self.crop_pixels

    @property
    def _shifts(self) -> int:
        return 2 * self._largest + 1

    @property
    def count(self) -> int:
        """The number of views."""
        mirrored = self.how in (Augment.FLIP, Augment.FLIP_CROP)
        return (2 if mirrored else 1) * self._shifts**2

    def sample_views(self, stream: RandomStream, examples: int) -> tf.Tensor:
        """The view that `augment` gives each example of a batch: int32 [N]."""
        flip, shift = sample_flip_shift(
            sample(stream, examples), self.how, self.crop_pixels
        )
        row = tf.cast(flip, tf.int32) * self._shifts + shift[:, 0] + self._largest
        return row * self._shifts + shift[:, 1] + self._largest

    def render(self, images: np.ndarray, view: int) -> np.ndarray:
        """Shows all `images`, uint8 [N, H, W, C], in one view."""
        row, right = divmod(view, self._shifts)
        flip, down = divmod(row, self._shifts)
        count = len(images)
        shift = tf.constant([[down, right]], tf.int32) - self._largest
        moved = shift_and_flip(
            tf.cast(tf.constant(images), tf.float32),
            tf.fill([count], bool(flip)),
            tf.repeat(shift, count, axis=0),
        )
        return moved.numpy().astype(np.uint8)
