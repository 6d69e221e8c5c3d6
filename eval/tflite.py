"""Any `.tflite` image classifier through LiteRT, one image at a time on every core."""

import concurrent.futures
import os
import pathlib

import numpy as np
from ai_edge_litert import interpreter as litert

from eval import pixels, tflite_metadata
from eval.pixels import Pixels
from eval.progress import Tick
from trainer.commandline import UsageError, first_line

_SLICE = 64  # images a thread takes at once


class TfliteModel:
    """Raw answers of a `.tflite` file; its own quantisation is undone.

    Attributes:
        shape: (H, W, C) of an image.
        classes: width of the answer.
        step: smallest difference between two answers; 0 for a float output.
    """

    def __init__(self, path: pathlib.Path, given: Pixels | None = None) -> None:
        """Opens `path`; `given` overrides what the file's metadata says of its input.

        Raises:
            UsageError: the file is damaged or not an image classifier.
        """
        self._content = path.read_bytes()
        self._path = path
        first = self._interpreter()
        ins, outs = first.get_input_details(), first.get_output_details()
        self._input, self._output = (
            _only(ins, path, "input"),
            _only(outs, path, "output"),
        )
        shape = self._input["shape"].tolist()
        batched = len(shape) == 4
        self.shape = tuple(shape[1:] if batched else shape)
        self._batch = shape[0] if batched else 1
        answer = self._output["shape"].tolist()
        if len(self.shape) != 3 or int(np.prod(answer)) % self._batch:
            raise UsageError(
                f"{path}: input {shape} and output {answer} are not those of an image"
                " classifier; images are [N, H, W, C] or [H, W, C]"
            )
        self.classes = int(np.prod(answer)) // self._batch
        self.step = float(self._output["quantization"][0])
        float_input = np.dtype(self._input["dtype"]).itemsize > 1
        found = tflite_metadata.normalization(self._content) if float_input else None
        self._pixels = given or found

    def _interpreter(self) -> litert.Interpreter:
        try:
            made = litert.Interpreter(model_content=self._content, num_threads=1)
            made.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                f"{self._path} is damaged or no .tflite model that LiteRT can run:"
                f" {first_line(error)}"
            ) from error
        return made

    def __call__(self, images: np.ndarray, tick: Tick) -> np.ndarray:
        """Answers for `images` uint8 [N, H, W, C]: float64 [N, classes]."""
        size = max(_SLICE // self._batch, 1) * self._batch
        starts = range(0, len(images), size)
        workers = min(len(os.sched_getaffinity(0)), len(starts))
        spare = [self._interpreter() for _ in range(workers)]

        def work(start: int) -> np.ndarray:
            own = spare.pop()  # list.pop and append are atomic
            try:
                return self._run(own, images[start : start + size], tick)
            finally:
                spare.append(own)

        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            return np.concatenate(list(pool.map(work, starts)))

    def _run(
        self, own: litert.Interpreter, images: np.ndarray, tick: Tick
    ) -> np.ndarray:
        detail = self._input
        taken = pixels.encode(
            images, detail["dtype"], detail["quantization"], self._pixels
        )
        short = -len(taken) % self._batch
        taken = np.concatenate([taken, np.zeros_like(taken[:1]).repeat(short, 0)])
        rows = []
        for start in range(0, len(taken), self._batch):
            block = taken[start : start + self._batch].reshape(detail["shape"])
            own.set_tensor(detail["index"], block)
            own.invoke()
            rows.append(own.get_tensor(self._output["index"]))
        raw = np.concatenate(rows, axis=None).reshape(-1, self.classes)[: len(images)]
        tick(len(images))
        return pixels.dequantize(raw, self._output["quantization"])


def _only(details: list[dict], path: pathlib.Path, what: str) -> dict:
    if len(details) != 1:
        raise UsageError(f"{path} has {len(details)} {what}s; a classifier has 1")
    return details[0]
