"""Host pixels: a thread reads the images of the next steps while one block trains.

Which rows a step has is a pure function of the step, so the thread keeps no state that
a checkpoint would need, and what it reads ahead is a guess that is checked: a step that
was not guessed, or has other rows, is read when it is asked for.
"""

import contextlib
import dataclasses
import math
import mmap
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from trainer.config.schema import Config
from trainer.data.device_dataset import WORD_BYTES, on_each_device, unpack
from trainer.distributed.strategy import Cluster
from trainer.errors import InvalidInput, TrainingFailed
from trainer.storage import as_failure

CHUNK_BYTES = 2**24  # of a replica, in one call: above, a call takes long to be copied
AHEAD = 2  # chunks that are ready beside the one in use and the one being read
LARGE_CHUNK = 2**26  # bytes of a chunk of one step above which one is ready
SLOW_SECS, SLOW_BYTES = 3e-5, 1e9  # of a row, and a second: it came from a disk
STOP_SECS = 10.0  # a thread that hangs in a dead file system is left behind
BlockRows = Callable[[int, int], np.ndarray]  # (step, count) -> int32 [count, B]


class RowReader:
    """Reads rows of uint8 images [N, H, W, C] from memory or from their mapped file.

    A file is read with system calls, not through its mapping: an error of the storage
    is then an OSError instead of the signal SIGBUS, and a row is one request.

    Attributes:
        size: bytes of a row.
    """

    def __init__(self, images: np.ndarray) -> None:
        self._flat = images.reshape(len(images), -1)
        self.size = self._flat.shape[1]
        self._file, self._start = _file_position(images)
        self._slow = False
        if self._file is not None:
            self._descriptor = os.open(self._file, os.O_RDONLY)
            weakref.finalize(self, os.close, self._descriptor)
            self._compare()

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Reads the images of int32 `rows` [n] to uint8 `out` [n, at least `size`].

        Raises:
            PeerLost: the storage is gone for now.
            TrainingFailed: it is gone for good, or the file was cut.
        """
        if self._file is None:
            if out.shape[1] == self.size:  # "clip" reads without a buffer
                np.take(self._flat, rows, axis=0, out=out, mode="clip")
            else:
                out[:, : self.size] = self._flat[rows]
            return
        began = time.perf_counter()
        try:
            self._read_file(rows, out)
        except OSError as error:
            what = f"the images in {self._file} cannot be read"
            raise as_failure(what, error) from error
        each = (time.perf_counter() - began) / max(1, len(rows))
        self._slow = each > SLOW_SECS + self.size / SLOW_BYTES

    def _read_file(self, rows: np.ndarray, out: np.ndarray) -> None:
        view, width = memoryview(out).cast("B"), out.shape[1]
        for index, row in enumerate(rows.tolist()):
            first, last = index * width, index * width + self.size
            offset = self._start + row * self.size - first
            while first < last:
                count = os.preadv(self._descriptor, [view[first:last]], offset + first)
                if not count:
                    raise TrainingFailed(
                        f"{self._file} has no row {row} any more: it was changed while "
                        "it was in use; prepare the data set again"
                    )
                first += count

    def hint(self, rows: np.ndarray) -> None:
        """Asks the system to fetch rows in parallel if the last ones came slowly.

        From a warm cache a row of 3 KiB takes 2.5 microseconds, and as long to ask for.
        """
        if not self._slow or not hasattr(os, "posix_fadvise"):
            return
        for row in rows.tolist():
            with contextlib.suppress(OSError):  # a hint only
                offset = self._start + row * self.size
                os.posix_fadvise(
                    self._descriptor, offset, self.size, os.POSIX_FADV_WILLNEED
                )

    def _compare(self) -> None:
        """Checks that the file that was opened by its name is the one that is mapped.

        Raises:
            InvalidInput: another one has taken its name since.
        """
        rows = np.unique(np.linspace(0, len(self._flat) - 1, 8).astype(np.int32))
        found = np.empty((len(rows), self.size), np.uint8)
        self.read(rows, found)
        if not np.array_equal(found, self._flat[rows]):
            raise InvalidInput(
                f"{self._file} was replaced while it was opened; start again"
            )


def _file_position(images: np.ndarray) -> tuple[str | None, int]:
    """Finds the file that `images` is mapped from, and where in it they begin."""
    root = images
    while isinstance(root.base, np.ndarray):
        root = root.base
    if (
        not isinstance(root, np.memmap)
        or not isinstance(root.base, mmap.mmap)
        or root.filename is None
        or not images.flags.c_contiguous
    ):
        return None, 0
    offset = images.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return os.fspath(root.filename), root.offset + offset


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The pixels of consecutive steps.

    Attributes:
        first: the first step.
        rows: int32 [n, B], the global batch of each step.
        words: int64 [replicas of this process, n, share, words of a row].
    """

    first: int
    rows: np.ndarray
    words: np.ndarray

    def has(self, step: int) -> bool:
        """Whether `step` is one of its steps."""
        return self.first <= step < self.first + len(self.rows)


class ReadAhead:
    """A thread that reads the chunks of steps `first` to `last` - 1 in order.

    Args:
        read: reads the chunk of (first step, number of steps); it has to call its third
            argument for each step, which raises an exception when it has to end.
        bounds: first step and number of steps of each chunk.
        ready: number of chunks that may wait to be taken.
    """

    def __init__(
        self,
        read: Callable[[int, int, Callable[[], None]], Chunk],
        bounds: Iterator[tuple[int, int]],
        ready: int,
    ) -> None:
        self._read, self._bounds = read, bounds
        self._queue: queue.Queue[Chunk | BaseException] = queue.Queue(ready)
        self._stopped, self._ended = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="pixels", daemon=True)
        self._thread.start()

    def take(self) -> Chunk | None:
        """Waits for the next chunk; None after the last; raises what the thread did."""
        if self._ended:
            return None
        found = self._queue.get()
        if isinstance(found, Chunk):
            return found
        self._ended = True
        if isinstance(found, _End):
            return None
        raise found

    def close(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        self._thread.join(STOP_SECS)

    def _run(self) -> None:
        try:
            for first, count in self._bounds:
                self._put(self._read(first, count, self._check))
            self._put(_End())
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  raised again by take()
            with contextlib.suppress(_Stopped):
                self._put(error)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise _Stopped

    def _put(self, item: "Chunk | BaseException") -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return
        raise _Stopped


class _Stopped(Exception):
    """The thread was asked to end."""


class _End(Exception):
    """There is no further chunk."""


def chunk_size(step_bytes: int) -> tuple[int, int]:
    """Chooses the steps of a chunk, and how many chunks are ready.

    It is the same on all workers. `step_bytes` is of a replica's share of a batch.
    """
    return max(1, CHUNK_BYTES // step_bytes), AHEAD if step_bytes <= LARGE_CHUNK else 1


def buffer_bytes(shape: tuple[int, int, int], config: Config, cluster: Cluster) -> int:
    """Computes the most memory that chunks take for one replica.

    They are ready, being read, in use, and handed over to the device.
    """
    step = config.global_batch // cluster.replicas * _words(shape) * WORD_BYTES
    step *= 2 if config.data.mixes and cluster.replicas > 1 else 1  # and the partners
    count, ready = chunk_size(step)
    return (ready + 3) * count * step


def _words(shape: tuple[int, int, int]) -> int:
    return -(-math.prod(shape) // WORD_BYTES)


class HostPixels:
    """The images of a split, in memory or in a mapped file; a PixelSource.

    A compiled call gets the pixels of its own steps, int64 [K, share, words] for each
    replica; a process reads the rows of its own replicas only. Where images are mixed
    with `partners`, which mirror the positions in the global batch, the share of the
    replica that mirrors this one follows its own.

    Args:
        images: uint8 [N, H, W, C].
        cluster: the replicas.
        global_batch: number of images of a step.
        partners: whether a step needs the partners of its images.
    """

    def __init__(
        self,
        images: np.ndarray,
        cluster: Cluster,
        *,
        global_batch: int,
        partners: bool = False,
    ) -> None:
        self.shape = images.shape[1:]
        self._reader, self._cluster = RowReader(images), cluster
        self._share = global_batch // cluster.replicas
        self._words = _words(self.shape)
        # The batch of one replica has its partners inside.
        self._others = self._share if partners and cluster.replicas > 1 else 0
        step = (self._share + self._others) * self._words * WORD_BYTES
        self._steps, self._ready = chunk_size(step)
        self._chunk: Chunk | None = None
        self._ahead: ReadAhead | None = None

    @property
    def spec(self) -> tf.TypeSpec:
        """What the compiled block takes: pixels of any number of steps."""
        one, two = (
            tf.type_spec_from_value(self._distribute(self._buffer(count)))
            for count in (1, 2)
        )
        return one.most_specific_common_supertype([two])

    @contextlib.contextmanager
    def reading(self, rows: BlockRows, first: int, last: int) -> Iterator[None]:
        """Reads ahead, within the context, for steps `first` to `last` - 1."""

        def bounds() -> Iterator[tuple[int, int]]:
            start, size = first, self._steps
            while start < last:
                end = min(last, (start // size + 1) * size)
                yield start, end - start
                start = end

        self._ahead = ReadAhead(
            lambda step, count, check: self._read(step, rows(step, count), check),
            bounds(),
            self._ready,
        )
        try:
            yield
        finally:
            self._ahead.close()
            self._ahead = self._chunk = None

    def calls(self, step: int, rows: np.ndarray) -> Iterator[tuple[tf.Tensor, int]]:
        """Yields the pixels of steps from `step` on, and how many steps those are.

        `rows` is int32 [K, B].
        """
        done = 0
        while done < len(rows):
            chunk = self._find(step + done, rows[done:])
            start = step + done - chunk.first
            count = min(len(chunk.rows) - start, len(rows) - done)
            yield self._distribute(chunk.words[:, start : start + count]), count
            done += count

    def of_step(self, pixels: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """Selects the pixels of one step of a block, on a replica."""
        count = self._share + self._others
        return tf.ensure_shape(pixels[index], [count, self._words])

    def part(self, pixels: tf.Tensor, start: tf.Tensor, count: int) -> tf.Tensor:
        """Selects `count` images of a replica's share."""
        return tf.ensure_shape(pixels[start : start + count], [count, self._words])

    def partners(self, pixels: tf.Tensor, start: tf.Tensor, count: int) -> tf.Tensor:
        """Selects the partners of the images that `part` selects, in reverse order."""
        first = self._others + self._share - start - count
        return self.part(pixels, first, count)

    def decode(self, pixels: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Unpacks the images of `rows` [n], which `pixels` are: uint8 [n, H, W, C]."""
        return unpack(tf.ensure_shape(pixels, [rows.shape[0], None]), self.shape)

    def load(self, rows: np.ndarray) -> tf.Tensor:
        """Loads what `decode` takes for int32 `rows` [n]."""
        out = np.zeros((len(rows), self._words), np.int64)
        self._reader.read(rows, out.view(np.uint8))
        return tf.constant(out)

    def _find(self, step: int, rows: np.ndarray) -> Chunk:
        """Finds the chunk that has `step`, read ahead if it was guessed right."""
        chunk = self._chunk
        if self._ahead is not None and not (chunk and step < _end(chunk)):
            chunk = self._ahead.take()
        if chunk and chunk.has(step):
            start = step - chunk.first
            guessed = chunk.rows[start : start + len(rows)]
            self._chunk = chunk
            if np.array_equal(guessed, rows[: len(guessed)]):
                return chunk
        return self._read(step, rows[: self._steps])

    def _read(
        self, step: int, rows: np.ndarray, check: Callable[[], None] = lambda: None
    ) -> Chunk:
        """Reads the part of the global batches `rows` [n, B] of this process."""
        local, replicas = len(self._cluster.local_devices), self._cluster.replicas
        shares = rows.reshape(len(rows), replicas, self._share)
        words = self._buffer(len(rows))
        for index, batch in enumerate(shares):
            check()
            for place in range(local):
                replica = self._cluster.worker * local + place
                needed = batch[replica]
                if self._others:
                    needed = np.concatenate([needed, batch[replicas - 1 - replica]])
                self._reader.hint(needed)
                self._reader.read(needed, words[place, index].view(np.uint8))
        return Chunk(step, rows, words)

    def _buffer(self, count: int) -> np.ndarray:
        local = len(self._cluster.local_devices)
        each = self._share + self._others
        return np.zeros((local, count, each, self._words), np.int64)

    def _distribute(self, words: np.ndarray) -> tf.Tensor:
        return on_each_device(lambda replica: words[replica], self._cluster)


def _end(chunk: Chunk) -> int:
    return chunk.first + len(chunk.rows)
