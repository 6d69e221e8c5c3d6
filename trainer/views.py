"""Views: the finite ways in which augmentation can show an image, numbered."""

import dataclasses

import numpy as np
import tensorflow as tf

from trainer.augment import draw, move, turn
from trainer.choices import Augment
from trainer.config import DataConfig
from trainer.models.address import Address


@dataclasses.dataclass(frozen=True)
class Views:
    """The views of `augment` without cutout: mirrored or not, shifted down, right.

    Number (flip * S + down + crop_pixels) * S + right + crop_pixels with S shifts in
    each direction.

    Attributes:
        how: the augmentation.
        crop_pixels: its largest shift.
    """

    how: Augment
    crop_pixels: int

    @classmethod
    def of(cls, config: DataConfig) -> "Views":
        """Those that `config` can give."""
        return cls(config.augment, config.crop_pixels)

    @property
    def _largest(self) -> int:
        return 0 if self.how in (Augment.NONE, Augment.FLIP) else self.crop_pixels

    @property
    def _shifts(self) -> int:
        return 2 * self._largest + 1

    @property
    def count(self) -> int:
        """How many there are."""
        mirrored = self.how in (Augment.FLIP, Augment.FLIP_CROP)
        return (2 if mirrored else 1) * self._shifts**2

    def drawn(self, address: Address, examples: int) -> tf.Tensor:
        """Which one `augment` gives each example at `address`: int32 [N]."""
        flip, shift = turn(draw(address, examples), self.how, self.crop_pixels)
        row = tf.cast(flip, tf.int32) * self._shifts + shift[:, 0] + self._largest
        return row * self._shifts + shift[:, 1] + self._largest

    def show(self, images: np.ndarray, view: int) -> np.ndarray:
        """uint8 [N, H, W, C], all seen in the view of that number."""
        row, right = divmod(view, self._shifts)
        flip, down = divmod(row, self._shifts)
        count = len(images)
        shift = tf.constant([[down, right]], tf.int32) - self._largest
        moved = move(
            tf.cast(tf.constant(images), tf.float32),
            tf.fill([count], bool(flip)),
            tf.repeat(shift, count, axis=0),
        )
        return moved.numpy().astype(np.uint8)
