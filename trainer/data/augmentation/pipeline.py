"""Augmentation of the training images of a batch, as the config describes it.

Every random number depends on seed, step and position in the global batch alone
(`trainer.rng`), so that any number of replicas augments an image alike. Each method
draws from a stream of its own name: what one draws changes no other. Arithmetic is in
whole numbers wherever an order of summation could change a bit.
"""

import tensorflow as tf

from trainer.config.enums import Augment
from trainer.config.schema import DataConfig
from trainer.data.augmentation import color, crops, randaugment, resizing
from trainer.rng import RandomStream


def augment(
    images: tf.Tensor,
    config: DataConfig,
    stream: RandomStream,
    *,
    mirror: tf.Tensor | None = None,
) -> tf.Tensor:
    """Augments uint8 [N, H, W, C]; returns float32 of whole numbers 0..255.

    The order is flip and crop, colour jitter, RandAugment, cutout.

    Args:
        images: uint8 [N, H, W, C].
        config: which augmentations, and how strong they are.
        stream: position of the batch in the random stream of the run.
        mirror: bool [N], which images to mirror; None: a random half of them, where
            the augmentation mirrors.
    """
    pixels, how = tf.cast(images, tf.float32), config.augment
    if how.resizes:
        pixels = resizing.random_resized_crop(
            pixels, stream, config.min_crop_area, how.mirrors, mirror=mirror
        )
    elif how is not Augment.NONE:
        drawn = crops.sample(stream, images.shape[0])
        flip, shift = crops.sample_flip_shift(drawn, how, config.crop_pixels)
        flip = flip if mirror is None else mirror
        pixels = crops.shift_and_flip(pixels, flip, shift)
    if config.color_jitter is not None:
        pixels = color.jitter(pixels, stream, config.color_jitter)
    if config.randaugment_ops is not None:
        pixels = randaugment.rand_augment(
            pixels,
            stream,
            count=config.randaugment_ops,
            magnitude=config.randaugment_magnitude,
        )
    if how is Augment.FLIP_CROP_CUTOUT:
        pixels = crops.cutout(pixels, drawn)
    return pixels
