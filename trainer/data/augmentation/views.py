"""The finite number of views that some augmentations can give of an image."""

import dataclasses

import numpy as np
import tensorflow as tf

from trainer.config.enums import Augment
from trainer.config.schema import DataConfig
from trainer.data.augmentation import crops
from trainer.rng import RandomStream


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

    def __post_init__(self) -> None:
        if not self.how.countable:
            raise ValueError(f"augment={self.how.value} has no finite number of views")

    @classmethod
    def from_config(cls, config: DataConfig) -> "AugmentationIndex":
        """The views that the augmentation of `config` can give."""
        return cls(config.augment, config.crop_pixels)

    @property
    def _largest(self) -> int:
        return self.crop_pixels if self.how.crops else 0

    @property
    def _shifts(self) -> int:
        return 2 * self._largest + 1

    @property
    def count(self) -> int:
        """The number of views."""
        return (2 if self.how.mirrors else 1) * self._shifts**2

    def sample_views(self, stream: RandomStream, examples: int) -> tf.Tensor:
        """The view that `augment` gives each example of a batch: crops.INDEX [N]."""
        drawn = crops.sample(stream, examples)
        flip, shift = crops.sample_flip_shift(drawn, self.how, self.crop_pixels)
        row = tf.cast(flip, crops.INDEX) * self._shifts + shift[:, 0] + self._largest
        return row * self._shifts + shift[:, 1] + self._largest

    def render(self, images: np.ndarray, view: int) -> np.ndarray:
        """Shows all `images`, uint8 [N, H, W, C], in one view."""
        row, right = divmod(view, self._shifts)
        flip, down = divmod(row, self._shifts)
        count = len(images)
        shift = tf.constant([[down, right]], crops.INDEX) - self._largest
        moved = crops.shift_and_flip(
            tf.cast(tf.constant(images), tf.float32),
            tf.fill([count], bool(flip)),
            tf.repeat(shift, count, axis=0),
        )
        return moved.numpy().astype(np.uint8)
