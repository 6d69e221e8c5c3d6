"""Mixup and CutMix: an image and its label are mixed with those of a partner.

The partner of position p of the global batch is position B - 1 - p, augmented as it is
at its own position (timm, too, reverses the batch). So a replica with positions
first..first + n - 1 needs the rows B - first - n..B - first - 1, whatever replica
trains on those.
"""

import numpy as np
import tensorflow as tf

from trainer.config.schema import DataConfig
from trainer.data.augmentation import quantiles
from trainer.rng import RandomStream


def first_partner(first: tf.Tensor, count: int, batch: int) -> tf.Tensor:
    """Computes the position of the first partner; the others follow, in reverse order.

    Args:
        first: int [], position of the replica's first example in the global batch.
        count: number of its examples.
        batch: number of examples in the global batch.
    """
    return batch - count - first


def mix(
    images: tf.Tensor, partners: tf.Tensor, config: DataConfig, stream: RandomStream
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes images with their partners; draws for each example by itself.

    With both alphas an example is mixed by either method with probability 1/2.

    Args:
        images: float32 [N, H, W, C].
        partners: float32 [N, H, W, C], the partner of each image.
        config: the alphas of mixup and CutMix, one of which is set.
        stream: position of `images` in the random stream of the run.

    Returns:
        The mixed images, float32 [N, H, W, C], and the share of each image in its
        mixture, float32 [N]; the partner has the rest of 1.
    """
    drawn = stream.uniform("augment/mix", examples=images.shape[0], features=4)
    if config.cutmix is None:
        mask, share = _mixup(drawn, config.mixup)
    elif config.mixup is None:
        mask, share = _cutmix(drawn, images.shape, config.cutmix)
    else:
        blended, blend = _mixup(drawn, config.mixup)
        cut, kept = _cutmix(drawn, images.shape, config.cutmix)
        cuts = drawn[:, 3] < 0.5
        mask = tf.where(cuts[:, None, None, None], cut, blended)
        share = tf.where(cuts, kept, blend)
    return mask * images + (1 - mask) * partners, share


def _mixup(drawn: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws shares from Beta(alpha, alpha) (Zhang et al. 2018): [N, 1, 1, 1] and [N].

    "mixup: Beyond empirical risk minimization".
    """
    share = quantiles.interpolate(quantiles.tabulate_beta(alpha), drawn[:, 0])
    return tf.reshape(share, [-1, 1, 1, 1]), share


def _cutmix(
    drawn: tf.Tensor, shape: tf.TensorShape, alpha: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws a box for the partner (Yun et al. 2019): 0 inside, 1 outside, and shares.

    "CutMix: Regularization strategy to train strong classifiers with localizable
    features". The area of the box is 1 - x of Beta(alpha, alpha), less what the border
    cuts off; its centre is uniform. The share is that of the pixels outside the box.

    Args:
        drawn: float32 [N, 4], uniform numbers.
        shape: N, H, W, C of the images.
        alpha: of the Beta distribution.

    Returns:
        The mask, float32 [N, H, W, 1], and the shares, float32 [N].
    """
    beta = quantiles.tabulate_beta(alpha)
    side = quantiles.interpolate(np.sqrt(1 - beta), drawn[:, 0])
    inside, lengths = [], []
    for size, centre in zip(shape[1:3], (drawn[:, 1], drawn[:, 2]), strict=True):
        length = tf.floor(side * size)
        start = tf.floor(centre * size) - tf.floor(length * 0.5)
        stop = tf.minimum(start + length, size)
        start = tf.maximum(start, 0)
        at = tf.range(size, dtype=tf.float32)[None]
        inside.append((at >= start[:, None]) & (at < stop[:, None]))
        lengths.append(stop - start)
    box = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    share = 1 - lengths[0] * lengths[1] * (1 / (shape[1] * shape[2]))
    return 1 - tf.cast(box, tf.float32), share
