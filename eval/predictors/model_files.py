"""Opens `.tflite`, ONNX and SavedModel files, also those of other tools."""

import pathlib
from collections.abc import Mapping
from typing import Any

from eval.formats.input_normalization import InputNormalization
from eval.predictors.engine import Kernels, LiteRtApi
from eval.predictors.file_options import DEFAULT_OPTIONS, FileOptions
from eval.predictors.outputs import Output
from eval.predictors.predictor import Predictor
from eval.predictors.runtimes.onnx_model import OnnxModel
from eval.predictors.saved_model_predictor import SavedModel
from eval.predictors.tflite_predictor import TfliteModel
from trainer.errors import InvalidInput
from trainer.models.normalization import NORMALIZED, PIXEL_MEAN, PIXEL_STD


def open_file(
    path: pathlib.Path,
    options: FileOptions = DEFAULT_OPTIONS,
    manifest: Mapping[str, Any] | None = None,
) -> Predictor:
    """Opens a `.tflite` or `.onnx` file or a SavedModel directory as a Predictor.

    Every model file is opened by this function.

    Args:
        options: how outputs and pixels are read; the last operator of the file and
            `manifest` decide what the options leave open.
        manifest: the description of the file, inside it or beside it.

    Raises:
        InvalidInput: the file is missing, damaged or not an image classifier.
    """
    manifest, span = manifest or {}, options.input_range
    given = InputNormalization.from_range(span) if span else None
    noted = _manifest_normalization(manifest)
    if path.is_dir() and (path / "saved_model.pb").is_file():
        _check_for_tflite(path, options)
        model: SavedModel | TfliteModel | OnnxModel = SavedModel(path, given)
    elif path.is_file() and path.suffix == ".onnx":
        _check_for_tflite(path, options)
        model = OnnxModel(path, given or noted)
    elif path.is_file() and path.suffix == ".tflite":
        kernels = options.kernels or Kernels.XNNPACK
        api = options.engine or LiteRtApi.INTERPRETER
        model = TfliteModel(path, given, noted, options.input_scaling, kernels, api)
    else:
        found = "is something else" if path.exists() else "does not exist"
        raise InvalidInput(
            f"{path} {found}; name a run, a .tflite or .onnx file, or a"
            " SavedModel directory (one with saved_model.pb)"
        )
    return _with_output(Predictor(str(path), model, options.output), model, manifest)


def _check_for_tflite(path: pathlib.Path, options: FileOptions) -> None:
    """Checks that no option is given that is for `.tflite` files alone."""
    given = {
        "kernels": options.kernels,
        "input_scaling": options.input_scaling,
        "engine": options.engine,
    }
    for option, value in given.items():
        if value is not None:
            kind = "an ONNX file" if path.suffix == ".onnx" else "a SavedModel"
            raise InvalidInput(
                f"{option}={value.value} is for .tflite files, {path} is {kind}"
            )


def _with_output(
    predictor: Predictor,
    model: SavedModel | TfliteModel | OnnxModel,
    manifest: Mapping[str, Any],
) -> Predictor:
    """Sets the meaning of the outputs from the file or its manifest unless given."""
    says = model.says
    if says is None and "weights_sha256" in manifest:  # as in all of our exports
        says = Output.PROBABILITIES
    if not predictor.given and says is not None:
        predictor.output, predictor.given = says, True
    elif says not in (None, predictor.output, Output.AUTO) and predictor.given:
        predictor.notes.append(
            f"{predictor.name} is read as giving {predictor.output.value}, its last"
            f" operator gives {says.value}"
        )
    return predictor


def _manifest_normalization(manifest: Mapping[str, Any]) -> InputNormalization | None:
    """Reads the normalisation of a float or int16 input from our manifest."""
    real = manifest.get("io", {}).get("input_is") == NORMALIZED
    return InputNormalization(float(PIXEL_MEAN), float(PIXEL_STD)) if real else None
