"""Runs a `.tflite` in TensorFlow Lite for Microcontrollers, in one process per core.

Its interpreter holds Python's lock while it runs, so threads would wait for each other.
"""

import concurrent.futures
import contextlib
import importlib.metadata
import multiprocessing
import multiprocessing.context
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from eval.formats import input_normalization
from eval.formats.input_normalization import InputNormalization
from eval.predictors import sandbox
from export.microcontroller.micro_formats import PACKAGE
from trainer import system
from trainer.models.normalization import PIXEL_MEAN, PIXEL_STD
from trainer.monitoring import native_output
from trainer.monitoring.progress import OnBatch

_BLOCK = 16  # images sent to a process at once
_ALIGNMENT = 16  # of the arena and everything in it
_FIRST_BYTES, _LIMIT_BYTES = 2**20, 2**30  # smallest and largest arena that is tried
_TIMED_IMAGES = 3  # measured to estimate the total time
_worker: Any = None  # the interpreter of a worker process


class MicroModel:
    """Computes raw outputs of a `.tflite`; a Model for eval's Predictor.

    Attributes:
        shape: (H, W, C) of an image.
        classes: number of classes.
        step: smallest difference between two outputs; 0 for a float output.
        arena_bytes: the smallest arena that it runs in.
        image_secs: seconds that one image takes.
        engine: description of the runtime.
        input, output: (scale, zero point); (0.0, 0) if not quantised.
    """

    def __init__(self, content: bytes) -> None:
        """Searches for the smallest arena.

        Raises:
            RuntimeError: an operator is not supported.
        """
        self._content = content
        self.engine = {
            "name": "TensorFlow Lite Micro",
            "version": importlib.metadata.version(PACKAGE),
            "delegate": None,
            "device": "CPU",
            "threads": 1,
        }
        with _processes(1) as pool:
            found = pool.submit(_inspect, content).result()
        self.arena_bytes, self.image_secs, source, sink = found
        self.shape = tuple(int(side) for side in source["shape"][1:])
        self.classes = int(sink["shape"][-1])
        self.input, self.output = _quantization(source), _quantization(sink)
        self.step = self.output[0]
        self._dtype = np.dtype(source["dtype"])

    def __call__(self, images: np.ndarray, tick: OnBatch) -> np.ndarray:
        """Computes the outputs of `images` uint8 [N, H, W, C]: float64 [N, classes]."""
        normalization = None  # an 8-bit input is the pixel
        if self._dtype.itemsize > 1:
            normalization = InputNormalization(mean=PIXEL_MEAN, std=PIXEL_STD)
        blocks = [
            input_normalization.encode(
                images[i : i + _BLOCK], self._dtype, self.input, normalization
            )
            for i in range(0, len(images), _BLOCK)
        ]
        rows = []
        workers = min(system.threads(), len(blocks))
        with _processes(
            workers, _start_worker, (self._content, self.arena_bytes)
        ) as pool:
            for answers in pool.map(_run_block, blocks):
                rows.append(answers)
                tick(len(answers))
        return input_normalization.dequantize(np.concatenate(rows), self.output)


@contextlib.contextmanager
def _processes(
    count: int,
    initializer: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """A pool of processes, which are killed if an error ends the context."""
    pool = concurrent.futures.ProcessPoolExecutor(
        count, _QuietContext(), initializer, arguments
    )
    with pool:
        try:
            yield pool
        except BaseException:
            for process in multiprocessing.active_children():
                if isinstance(process, _QuietProcess):
                    process.kill()
            raise


class _QuietProcess(multiprocessing.context.SpawnProcess):
    """A process that Ctrl-C does not reach: each would show a traceback.

    It is spawned, as a fork would inherit TensorFlow.
    """

    def start(self) -> None:
        """Starts it with SIGINT blocked, which it inherits."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def run(self) -> None:
        """Ends with its parent, which may be killed."""
        sandbox.end_with_parent(multiprocessing.parent_process().pid)
        super().run()


class _QuietContext(multiprocessing.context.SpawnContext):
    Process = _QuietProcess


def _inspect(content: bytes) -> tuple[int, float, dict[str, Any], dict[str, Any]]:
    """Finds the smallest arena, seconds per image, and details of input and output.

    It runs in a separate process.
    """
    with native_output.unnamed_file() as stderr:
        os.dup2(stderr.fileno(), 2)  # errors and print_allocations() are written there
        size = max(_FIRST_BYTES, 10 * len(content))
        while not _can_start(content, size):
            size *= 2
            if size > _LIMIT_BYTES:
                raise RuntimeError("TensorFlow Lite Micro cannot run this model")
        interpreter = _open_interpreter(content, size)
        interpreter.print_allocations()
        stderr.seek(0)
        size = _arena_bytes(content, stderr.read().decode())
    start = time.perf_counter()
    for _ in range(_TIMED_IMAGES):
        interpreter.invoke()
    image_secs = (time.perf_counter() - start) / _TIMED_IMAGES
    source, sink = interpreter.get_input_details(0), interpreter.get_output_details(0)
    return size, image_secs, source, sink


def _arena_bytes(content: bytes, report: str) -> int:
    """Finds the smallest multiple of 16 bytes with which the interpreter starts.

    It starts at the size in `report`, as a much smaller arena crashes the interpreter.
    On this machine pointers have 64 bits, so a microcontroller needs slightly less.
    """
    allocated = int(re.search(r"Arena allocation total (\d+)", report)[1])
    size = -(-allocated // _ALIGNMENT) * _ALIGNMENT
    while not _can_start(content, size):
        size += _ALIGNMENT
    return size


def _can_start(content: bytes, arena_bytes: int) -> bool:
    try:
        _open_interpreter(content, arena_bytes)
    except RuntimeError:
        return False
    return True


def _open_interpreter(content: bytes, arena_bytes: int) -> Any:  # noqa: ANN401
    from tflite_micro import runtime  # an optional package

    return runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)


def _quantization(details: dict[str, Any]) -> tuple[float, int]:
    parameters = details["quantization_parameters"]
    if not len(parameters["scales"]):
        return 0.0, 0
    return float(parameters["scales"][0]), int(parameters["zero_points"][0])


def _start_worker(content: bytes, arena_bytes: int) -> None:
    global _worker
    _worker = _open_interpreter(content, arena_bytes)


def _run_block(block: np.ndarray) -> np.ndarray:
    rows = []
    for image in block:
        _worker.set_input(image[None], 0)
        _worker.invoke()
        rows.append(np.array(_worker.get_output(0)[0]))
    return np.stack(rows)
