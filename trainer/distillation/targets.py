"""Training data of a student on its devices: images, labels and soft labels.

The teacher has to see exactly the view of an image that the student sees: Beyer et al.
2021, "Knowledge distillation: A good teacher is patient and consistent".
"""

import numpy as np
import tensorflow as tf

from trainer import system
from trainer.config.enums import Input
from trainer.config.schema import Config
from trainer.data.augmentation.views import AugmentationIndex
from trainer.data.dataset import Dataset
from trainer.data.device_dataset import DeviceDataset, PixelSource, on_each_device
from trainer.data.host_pixels import HostPixels
from trainer.distributed.strategy import Cluster
from trainer.errors import InvalidInput
from trainer.rng import RandomStream


class DistillationTargets(DeviceDataset):
    """Images with the logits of a teacher for every view, float16 [views * N, K].

    The logits are zeros until `teach` is called.
    """

    def __init__(
        self,
        config: Config,
        data: Dataset,
        cluster: Cluster,
        pixels: PixelSource | None = None,
    ) -> None:
        super().__init__(data.train.images, data.train.labels, cluster, pixels)
        self.views, self._data, self._cluster = (
            AugmentationIndex.from_config(config.data),
            data,
            cluster,
        )
        self._place(np.zeros((self.views.count * self._count, self._classes), "f2"))

    @property
    def _count(self) -> int:
        return len(self._data.train.labels)

    @property
    def _classes(self) -> int:
        return len(self._data.train.names)

    @property
    def shape_of_answers(self) -> tuple[int, int, int]:
        """Number of views, training rows and classes."""
        return self.views.count, len(self._data.learnt), self._classes

    def teach(self, answers: np.ndarray) -> None:
        """Sets the teacher's logits, float16 [views, training rows, K]."""
        whole = np.zeros((self.views.count, self._count, self._classes), np.float16)
        whole[:, self._data.learnt] = answers
        self._place(whole.reshape(-1, self._classes))

    def _place(self, logits: np.ndarray) -> None:
        self._logits = on_each_device(lambda _: logits, self._cluster)

    @property
    def targets(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The labels, int64 [N], and the teacher's logits, float16 [views * N, K]."""
        return self.labels, self._logits

    def gather_targets(
        self,
        targets: tuple[tf.Tensor, tf.Tensor],
        rows: tf.Tensor,
        stream: RandomStream,
    ) -> tuple[tf.Tensor, ...]:
        """Gathers labels [n] and logits [n, K] of the views that augmentation draws."""
        labels, logits = targets
        view = self.views.sample_views(stream, rows.shape[0])
        at = view * self._count + tf.cast(rows, tf.int64)
        return tf.gather(labels, rows), tf.gather(logits, at)


def build_device_dataset(
    config: Config, data: Dataset, cluster: Cluster, source: Input
) -> DeviceDataset:
    """Builds the training data of `config`, with soft labels if there is a teacher.

    Args:
        config: whether there is a teacher, and the batch.
        data: the data set.
        cluster: the replicas.
        source: HOST reads the images from the host; targets are always on the device.

    Raises:
        InvalidInput: the soft labels would not fit into memory.
    """
    images, labels = data.train.images, data.train.labels
    pixels = None
    if source is Input.HOST:
        pixels = HostPixels(
            images,
            cluster,
            global_batch=config.global_batch,
            partners=config.data.mixes,
        )
    if not config.distillation.enabled:
        return DeviceDataset(images, labels, cluster, pixels)
    count, classes = len(labels), len(data.train.names)
    views = AugmentationIndex.from_config(config.data).count
    need = 2 * views * count * classes * (2 + len(cluster.local_devices))
    free = system.free_bytes()
    if need > free:
        raise InvalidInput(
            f"the soft labels for {views} views of {count} images need {need:,} "
            f"bytes of memory, {free:,} are free;\n"
            f"lower crop_pixels={config.data.crop_pixels}"
        )
    return DistillationTargets(config, data, cluster, pixels)
