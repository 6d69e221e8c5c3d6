"""Device dataset: pixels and targets of the training split, inputs of the step."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from trainer.distributed.strategy import Cluster
from trainer.rng import RandomStream

WORD_BYTES = 8


class PixelSource(Protocol):
    """Where the compiled step has its pixels from.

    Attributes:
        shape: height, width, channels.
        spec: what the compiled block takes as its pixels, for any number of steps.
    """

    shape: tuple[int, int, int]
    spec: Any

    def reading(
        self, rows: Callable[[int, int], np.ndarray], first: int, last: int
    ) -> contextlib.AbstractContextManager[None]:
        """Context in which steps `first` to `last` - 1 are run, one after the other.

        `rows` gives int32 [count, B] of (step, count).
        """

    def calls(self, step: int, rows: np.ndarray) -> Iterator[tuple[Any, int]]:
        """Yields the pixels of steps from `step` on, and how many steps those are."""

    def of_step(self, pixels: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """Selects the pixels of one step of a block, on a replica."""

    def part(self, pixels: tf.Tensor, start: tf.Tensor, count: int) -> tf.Tensor:
        """Selects the pixels of `count` images from `start` on of a replica's share."""

    def partners(self, pixels: tf.Tensor, start: tf.Tensor, count: int) -> tf.Tensor:
        """Selects those of their partners, at B - 1 - p for position p of the batch.

        They are in the order of their positions, so in reverse.
        """

    def decode(self, pixels: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Unpacks the images of int32 `rows` [n]: uint8 [n, H, W, C]."""

    def load(self, rows: np.ndarray) -> tf.Tensor:
        """Loads pixels of which `decode` can unpack the images of `rows`."""


class DevicePixels:
    """A copy of all images on every replica's device, in int64 words.

    GatherV2 has no GPU kernel for uint8, so the rows are gathered as int64 words and
    their bytes reinterpreted, which is exact.
    """

    def __init__(self, images: np.ndarray, cluster: Cluster) -> None:
        self.shape, self._cluster = images.shape[1:], cluster
        flat = images.reshape(len(images), -1)
        pad = -flat.shape[1] % WORD_BYTES
        if pad:
            flat = np.pad(flat, [(0, 0), (0, pad)])
        words = np.ascontiguousarray(flat).view(np.int64)
        self.words = on_each_device(lambda _: words, cluster)

    @property
    def spec(self) -> tf.Tensor:
        """The packed pixels of all images, the only value there is."""
        return self.words

    def reading(
        self, _rows: Callable[[int, int], np.ndarray], _first: int, _last: int
    ) -> contextlib.AbstractContextManager[None]:
        """Context without effect: everything is read."""
        return contextlib.nullcontext()

    def calls(self, _step: int, rows: np.ndarray) -> Iterator[tuple[tf.Tensor, int]]:
        """Yields all images, once for all steps."""
        yield self.words, len(rows)

    def of_step(self, pixels: tf.Tensor, _index: tf.Tensor) -> tf.Tensor:
        """All images, whatever the step."""
        return pixels

    def part(self, pixels: tf.Tensor, _start: tf.Tensor, _count: int) -> tf.Tensor:
        """All images, whatever the part."""
        return pixels

    def partners(self, pixels: tf.Tensor, _start: tf.Tensor, _count: int) -> tf.Tensor:
        """All images, whoever's partners."""
        return pixels

    def decode(self, pixels: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Gathers the images of int32 `rows` [n]: uint8 [n, H, W, C]."""
        return gather_images(pixels, rows, self.shape)

    def load(self, _rows: np.ndarray) -> tf.Tensor:
        """All images, on the first device of this process."""
        return self._cluster.strategy.experimental_local_results(self.words)[0]


class DeviceDataset:
    """The training split as inputs of the step: pixels, and labels on every device.

    Args:
        images: uint8 [N, H, W, C].
        labels: int [N].
        cluster: the replicas.
        pixels: where the step has its pixels from; None: a copy on every device.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        cluster: Cluster,
        pixels: PixelSource | None = None,
    ) -> None:
        self.pixels = pixels or DevicePixels(images, cluster)
        values = labels.astype(np.int64)
        self.labels = on_each_device(lambda _: values, cluster)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.pixels.shape

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


def on_each_device(value: Callable[[int], np.ndarray], cluster: Cluster) -> tf.Tensor:
    """Copies `value(n)` to the device of the n-th replica of this process, for all."""

    def copy_to_device(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        local = context.replica_id_in_sync_group % len(cluster.local_devices)
        with tf.device(cluster.local_devices[local]):
            return tf.identity(tf.constant(value(local)))

    return cluster.strategy.experimental_distribute_values_from_function(copy_to_device)


def gather_images(
    words: tf.Tensor, rows: tf.Tensor, shape: tuple[int, int, int]
) -> tf.Tensor:
    """Gathers the images of `rows`, int32 [n], as uint8 [n, H, W, C].

    `words` are the packed pixels of all images, int64 [N, W8]; `shape` is H, W, C.
    """
    return unpack(tf.gather(words, rows), shape)


def unpack(words: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Reinterprets packed pixels, int64 [n, W8], as images uint8 [n, *`shape`]."""
    flat = tf.reshape(tf.bitcast(words, tf.uint8), [words.shape[0], -1])
    return tf.reshape(flat[:, : int(np.prod(shape))], [words.shape[0], *shape])
