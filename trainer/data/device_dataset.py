"""Device dataset: a copy of a split on every device, and the rows of a batch."""

import numpy as np
import tensorflow as tf

from trainer.distributed.strategy import Cluster
from trainer.rng import RandomStream

WORD_BYTES = 8


class DeviceDataset:
    """A copy of a split on every replica's device: pixels in int64 words, and labels.

    GatherV2 has no GPU kernel for uint8, so the rows are gathered as int64 words and
    their bytes reinterpreted, which is exact.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, cluster: Cluster
    ) -> None:
        self.shape = images.shape[1:]
        flat = images.reshape(len(images), -1)
        pad = -flat.shape[1] % WORD_BYTES
        if pad:
            flat = np.pad(flat, [(0, 0), (0, pad)])
        words = np.ascontiguousarray(flat).view(np.int64)
        self.packed_pixels = on_each_device(words, cluster)
        self.labels = on_each_device(labels.astype(np.int64), cluster)

    @property
    def targets(self) -> tf.Tensor | tuple[tf.Tensor, ...]:
        """The targets of all examples, an input of the step: labels, int64 [N]."""
        return self.labels

    def gather_targets(
        self,
        targets: tf.Tensor | tuple[tf.Tensor, ...],
        rows: tf.Tensor,
        stream: RandomStream,
    ) -> tuple[tf.Tensor, ...]:
        """The targets of a replica's part of a batch.

        Args:
            targets: of all examples, on the device.
            rows: int [n], dataset rows.
            stream: position of the batch in the random stream of the run.

        Returns:
            Labels, int64 [n].
        """
        return (tf.gather(targets, rows),)


def on_each_device(array: np.ndarray, cluster: Cluster) -> tf.Tensor:
    """Copies `array` to the device of each replica of this process."""

    def copy_to_device(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        local = context.replica_id_in_sync_group % len(cluster.local_devices)
        with tf.device(cluster.local_devices[local]):
            return tf.identity(tf.constant(array))

    return cluster.strategy.experimental_distribute_values_from_function(copy_to_device)


def gather_images(
    words: tf.Tensor, rows: tf.Tensor, shape: tuple[int, int, int]
) -> tf.Tensor:
    """Gathers the images of `rows`, int32 [n], as uint8 [n, H, W, C].

    `words` are the packed pixels of all images, int64 [N, W8]; `shape` is H, W, C.
    """
    picked = tf.bitcast(tf.gather(words, rows), tf.uint8)
    flat = tf.reshape(picked, [rows.shape[0], -1])
    return tf.reshape(flat[:, : int(np.prod(shape))], [rows.shape[0], *shape])
