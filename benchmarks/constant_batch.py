"""The trainer's compiled step without its input."""

import tensorflow as tf

from trainer.training import step


class OnConstantBatch(step.TrainStep):
    """Trains on one batch that is part of the graph, whatever rows it is given."""

    def batch(self, words, targets, mine, here):
        """Returns grey gradients of the right shape, and label 0."""
        count = mine.shape[0]
        shape = (count, *self._images.shape)
        size = tf.reduce_prod(shape)
        pixels = tf.reshape(tf.range(size) % 256, shape)
        return tf.cast(pixels, tf.float32), (tf.zeros([count], tf.int64),)
