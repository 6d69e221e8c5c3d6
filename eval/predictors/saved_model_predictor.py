"""Model of any SavedModel directory with a signature that takes images."""

import copy
import math
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from eval.formats import input_normalization, saved_model_graph
from eval.formats.input_normalization import InputNormalization
from eval.predictors import engine, outputs
from eval.predictors.outputs import Output
from trainer import files
from trainer.errors import InvalidInput, TrainingFailed, first_line
from trainer.monitoring.progress import OnBatch

_BATCH = 256  # images of 32x32 pixels; fewer if they are larger


class SavedModel:
    """Computes raw outputs with the image signature of a SavedModel.

    Attributes:
        shape: (H, W, C) of an image; None where the signature leaves it open.
        classes: width of the output; None where the signature leaves it open.
        step: 0, as the outputs are floats.
        says: meaning of the outputs by the last operator, None if unclear.
        engine: description of the runtime.
    """

    step, notes = 0.0, ()

    def __init__(
        self, path: pathlib.Path, given: InputNormalization | None = None
    ) -> None:
        """Loads `path`; `given` is the normalisation that a float input expects.

        Raises:
            InvalidInput: it cannot be loaded or has no signature for images.
        """
        try:
            with files.literal_path(path) as place:
                self._loaded = tf.saved_model.load(place)
        except Exception as error:  # a damaged or foreign file may raise anything
            raise InvalidInput(
                f"{path} is not a SavedModel that TensorFlow can load:"
                f" {_explain(error)};\nsave it again, with its variables and without"
                " custom operators or classes"
            ) from error
        self._path = path
        name, self._call = _image_signature(self._loaded.signatures, path)
        ((self._key, spec),) = self._call.structured_input_signature[1].items()
        self._dtype, self._pixels = spec.dtype.as_numpy_dtype, given
        self.shape = tuple(spec.shape[1:])
        self._fixed = spec.shape[0]
        self._output = _output_key(self._call.structured_outputs, f"{path} ({name})")
        self.classes = self._call.structured_outputs[self._output].shape[1]
        self.says = _declared_output(self._call, self._output)
        self.engine = engine.describe_tensorflow()

    def alternative_readings(self) -> dict[str, "SavedModel"]:
        """Copies the model with other conversions of its input, by option."""
        if np.dtype(self._dtype).kind != "f":
            return {}  # its integers are pixels
        others = input_normalization.alternatives(
            self._dtype, (0.0, 0), self._pixels, None
        )
        made = {flag: copy.copy(self) for flag in others}
        for flag, read in others.items():
            made[flag]._pixels = read
        return made

    def __call__(self, images: np.ndarray, tick: OnBatch) -> np.ndarray:
        """Computes the outputs of `images` uint8 [N, H, W, C]: float64 [N, classes]."""
        rows = []
        size = max(1, min(_BATCH, _BATCH * 32 * 32 // math.prod(images.shape[1:3])))
        for block, used in blocks(images, self._fixed or size):
            taken = input_normalization.encode(
                block, self._dtype, (0.0, 0), self._pixels
            )
            try:
                results = self._call(**{self._key: tf.constant(taken)})
            except Exception as error:  # a foreign graph may raise anything
                raise TrainingFailed(
                    f"{self._path}: TensorFlow cannot run it on images"
                    f" {images.shape[1:]}: {_explain(error)}"
                ) from error
            rows.append(results[self._output].numpy()[:used].astype(np.float64))
            tick(used)
        return np.concatenate(rows)


def _explain(error: Exception) -> str:
    """Describes an error without names of Python."""
    spoken = isinstance(error, OSError | ValueError | tf.errors.OpError)
    return first_line(error) if spoken else "it is damaged or of another version"


def _declared_output(call: ConcreteFunction, output: str) -> Output | None:
    try:
        return outputs.OUTPUT_OF_OPERATOR.get(
            saved_model_graph.last_operator(call, output)
        )
    except (KeyError, ValueError, IndexError, AttributeError):
        return None  # its graph is built otherwise


def blocks(images: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Splits images into batches of `size`, the last one padded, with their counts."""
    for start in range(0, len(images), size):
        block = images[start : start + size]
        padding = np.zeros((size - len(block), *block.shape[1:]), block.dtype)
        yield np.concatenate([block, padding]), len(block)


def _image_signature(
    signatures: Mapping[str, ConcreteFunction], path: pathlib.Path
) -> tuple[str, ConcreteFunction]:
    """Finds the signature that takes one batch of images, serving_default first."""
    for name in sorted(signatures, key=lambda name: (name != "serving_default", name)):
        inputs = list(signatures[name].structured_input_signature[1].values())
        numbers = [i.dtype.is_floating or i.dtype.is_integer for i in inputs]
        alone = numbers == [True]
        if alone and inputs[0].shape.rank == 4:
            return name, signatures[name]
    raise InvalidInput(
        f"{path} has no signature that takes one tensor of images [N, H, W, C]; it has"
        f" {sorted(signatures) or 'none at all'}"
    )


def _output_key(specs: Mapping[str, tf.TensorSpec], where: str) -> str:
    """Finds the key of the float output [N, C]; by name if there are several."""
    tables = [
        key
        for key, spec in specs.items()
        if spec.dtype.is_floating and spec.shape.rank == 2
    ]
    for name in ("probabilities", "logits"):
        if name in tables:
            return name
    if len(tables) != 1:
        raise InvalidInput(
            f"{where} gives {sorted(specs)}; it must give one table [N, C] of"
            " floats, or name one 'probabilities' or 'logits'"
        )
    return tables[0]
