"""Model of any ONNX image classifier, run by ONNX Runtime."""

import copy
import importlib.metadata
import pathlib

import numpy as np

from eval.formats import input_normalization
from eval.formats.input_normalization import InputNormalization
from eval.predictors import engine
from eval.predictors.outputs import Output
from eval.predictors.runtimes import onnx_session
from trainer.errors import InvalidInput, TrainingFailed, first_line
from trainer.monitoring.progress import OnBatch

_BATCH = 64  # where the file leaves it open
_CHANNELS = (1, 3)  # a side of so many pixels is the channels


class OnnxModel:
    """Computes raw outputs of an ONNX file.

    Attributes:
        shape: (H, W, C) of an image; None where the file leaves a side open.
        classes: width of the output; None where the file leaves it open.
        step: 0: the outputs are floats.
        says: None: the last operator is not looked up.
        engine: description of the runtime.
        notes: messages that a reader of the outputs needs.
    """

    step = 0.0
    says: Output | None = None

    def __init__(
        self, path: pathlib.Path, given: InputNormalization | None = None
    ) -> None:
        """Opens `path`.

        Args:
            given: normalisation of the input; None: it takes the pixel itself.

        Raises:
            InvalidInput: the package is not installed, or the file is damaged or not an
                image classifier.
        """
        self._path, self._pixels = path, given
        threads = engine.cores()
        self._session = onnx_session.open_session(path, threads)
        self._input = onnx_session.describe_input(self._session, path)
        output = onnx_session.describe_output(self._session, path)
        sides = self._input.shape
        if len(sides) != 4 or len(output.shape) != 2:
            raise InvalidInput(
                f"{path}: input {_format(sides)} and output {_format(output.shape)} are"
                " not those of an image classifier; images are [N, H, W, C] or"
                " [N, C, H, W]"
            )
        self._batch, *image = sides
        self._first = image[0] in _CHANNELS and image[2] not in _CHANNELS
        self.shape = (*image[1:], image[0]) if self._first else tuple(image)
        self.classes = output.shape[1]
        self.notes: list[str] = []
        if self._input.dtype.kind != "f" and given is not None:
            raise InvalidInput(f"{path} takes bytes: `input_range` is for real numbers")
        self.engine = {
            "name": "ONNX Runtime",
            "version": importlib.metadata.version(onnx_session.PACKAGE),
            "delegate": None,
            "device": "CPU",
            "threads": threads,
        }

    def alternative_readings(self) -> dict[str, "OnnxModel"]:
        """Copies the model with other conversions of its input, by option."""
        if self._input.dtype.kind != "f":
            return {}
        others = input_normalization.alternatives(
            self._input.dtype, (0.0, 0), self._pixels, None
        )
        made = {flag: copy.copy(self) for flag in others}
        for flag, pixels in others.items():
            made[flag]._pixels = pixels
        return made

    def __call__(self, images: np.ndarray, tick: OnBatch) -> np.ndarray:
        """Computes the outputs of `images` uint8 [N, H, W, C]: float64 [N, classes]."""
        size, rows = self._batch or _BATCH, []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            rows.append(self._run(np.asarray(part)))
            tick(len(part))
        return np.concatenate(rows).astype(np.float64)

    def _run(self, images: np.ndarray) -> np.ndarray:
        taken = input_normalization.encode(
            images, self._input.dtype, (0.0, 0), self._pixels
        )
        short = (self._batch or 0) - len(taken)
        if short > 0:
            taken = np.concatenate([taken, np.zeros_like(taken[:1]).repeat(short, 0)])
        if self._first:
            taken = np.ascontiguousarray(taken.transpose(0, 3, 1, 2))
        try:
            (found,) = self._session.run(None, {self._input.name: taken})
        except Exception as error:  # ONNX Runtime has many
            raise TrainingFailed(
                f"{self._path}: ONNX Runtime cannot run it: {first_line(error)}"
            ) from error
        return found[: len(images)]


def _format(sides: tuple[int | None, ...]) -> str:
    return f"[{', '.join('any' if side is None else str(side) for side in sides)}]"
