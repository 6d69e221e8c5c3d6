"""A .tflite run by TensorFlow Lite for Microcontrollers, in as many processes as cores.

Its interpreter keeps Python's lock while it runs, so threads would wait for each other.
"""

import concurrent.futures
import importlib.metadata
import multiprocessing
import os
import re
import time
from typing import Any

import numpy as np

from eval import pixels
from eval.pixels import Pixels
from eval.progress import Tick
from trainer import container, quiet

_BLOCK = 16  # images a process takes at once
_ALIGNMENT = 16  # of the arena and everything in it
_FIRST_BYTES, _LIMIT_BYTES = 2**20, 2**30  # of an arena that is tried
_TIMED = 3  # images, to foretell how long all take
_own: Any = None  # the interpreter of a worker process


class MicroModel:
    """Raw answers of the bytes of a .tflite; a Model for eval's Predictor.

    Attributes:
        shape: (H, W, C) of an image.
        classes: width of the answer.
        step: smallest difference between two answers; 0 for a float output.
        arena_bytes: what it runs in, the least that will do.
        image_secs: that one image takes.
        engine: what computes them.
        input, output: (scale, zero point); (0.0, 0) if not quantised.
    """

    def __init__(self, content: bytes) -> None:
        """Looks for the smallest arena.

        Raises:
            RuntimeError: it runs in none: an operator is not supported.
        """
        self._content = content
        self.engine = {
            "name": "TensorFlow Lite Micro",
            "version": importlib.metadata.version("tflite-micro"),
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

    def __call__(self, images: np.ndarray, tick: Tick) -> np.ndarray:
        """Answers for `images` uint8 [N, H, W, C]: float64 [N, classes]."""
        real = Pixels(mean=128, std=128) if self._dtype.itemsize > 1 else None
        blocks = [
            pixels.encode(images[i : i + _BLOCK], self._dtype, self.input, real)
            for i in range(0, len(images), _BLOCK)
        ]
        rows = []
        workers = min(container.threads(), len(blocks))
        with _processes(workers, _start, (self._content, self.arena_bytes)) as pool:
            for answers in pool.map(_answers, blocks):
                rows.append(answers)
                tick(len(answers))
        return pixels.dequantize(np.concatenate(rows), self.output)


def _processes(count: int, *start: Any) -> concurrent.futures.ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit TensorFlow
    return concurrent.futures.ProcessPoolExecutor(count, spawn, *start)


def _inspect(content: bytes) -> tuple[int, float, dict[str, Any], dict[str, Any]]:
    """The smallest arena, seconds an image takes, and details of input and output.

    In a process of its own.
    """
    with quiet.unnamed_file() as told:
        os.dup2(told.fileno(), 2)  # where the interpreter complains and reports
        size = max(_FIRST_BYTES, 10 * len(content))
        while not _starts(content, size):
            size *= 2
            if size > _LIMIT_BYTES:
                raise RuntimeError("TensorFlow Lite Micro cannot run this model")
        own = _interpreter(content, size)
        own.print_allocations()
        told.seek(0)
        size = _arena_bytes(content, told.read().decode())
    start = time.perf_counter()
    for _ in range(_TIMED):
        own.invoke()
    secs = (time.perf_counter() - start) / _TIMED
    return size, secs, own.get_input_details(0), own.get_output_details(0)


def _arena_bytes(content: bytes, report: str) -> int:
    """The least multiple of 16 bytes with which the interpreter starts.

    Tried upwards from what it says that it allocates: far too small an arena crashes
    it. Its pointers have 64 bits and it keeps records, so a microcontroller needs
    somewhat less.
    """
    allocated = int(re.search(r"Arena allocation total (\d+)", report)[1])
    size = -(-allocated // _ALIGNMENT) * _ALIGNMENT
    while not _starts(content, size):
        size += _ALIGNMENT
    return size


def _starts(content: bytes, arena_bytes: int) -> bool:
    try:
        _interpreter(content, arena_bytes)
    except RuntimeError:
        return False
    return True


def _interpreter(content: bytes, arena_bytes: int) -> Any:
    from tflite_micro import runtime

    return runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)


def _quantization(details: dict[str, Any]) -> tuple[float, int]:
    found = details["quantization_parameters"]
    if not len(found["scales"]):
        return 0.0, 0
    return float(found["scales"][0]), int(found["zero_points"][0])


def _start(content: bytes, arena_bytes: int) -> None:
    global _own
    _own = _interpreter(content, arena_bytes)


def _answers(block: np.ndarray) -> np.ndarray:
    rows = []
    for image in block:
        _own.set_input(image[None], 0)
        _own.invoke()
        rows.append(np.array(_own.get_output(0)[0]))
    return np.stack(rows)
