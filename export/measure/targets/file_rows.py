"""Measures model files that are no format of their own: other quantiser, other engine.

Their latency is measured afterwards, with that of all formats in turn.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from eval.predictors import model_files
from eval.predictors.engine import LiteRtApi
from eval.predictors.file_options import FileOptions
from eval.predictors.outputs import Output
from export.artifact import current_artifact, verification
from export.artifact.artifact import Artifact
from export.artifact.inputs import ExportInputs
from export.artifact.number_formats import Io, Scheme
from export.lite import litert_quantization, tflite_writer
from export.lite.tflite_options import QuantizerChoice, TFLiteOptions
from export.measure import benchmark
from export.measure.loader import COMPILED
from export.measure.targets.target import TargetMissing
from export.onnx_files import onnx_packages, onnx_writer

_INT8 = TFLiteOptions(Scheme.INT8, Io.UINT8, quantizer=QuantizerChoice.LITERT)
_COMPILED_FORMATS = ("float32", "int8", "int8_litert")


def measure_litert(
    inputs: ExportInputs, rows: Sequence[dict[str, Any]], asked: bool
) -> list[dict[str, Any]]:
    """Returns a row for each file that litert-quantizer has made of this run.

    The int8 file is compared with that of TensorFlow's converter, answer by answer.

    Raises:
        TargetMissing: there is none.
        InvalidInput: it is to be exported, and the package is not installed.
        TrainingFailed: it cannot be exported, or an answer is no probability.
    """
    paths = sorted(inputs.folder.glob("model_*_litert*.tflite"))
    kernels = inputs.verification.kernels.value
    made = [_load(inputs, path, kernels) for path in paths]
    found = [each for each in made if each is not None]
    if asked and not any(each.path.name == _INT8.file_name for each in found):
        litert_quantization.check_installed()
        found.insert(0, tflite_writer.write_tflite(inputs, _INT8))
    if not found:
        raise TargetMissing("export.tflite --quantizer=litert has made no file of it")
    return [_describe_litert(inputs, rows, each) for each in found]


def _load(
    inputs: ExportInputs, path: pathlib.Path, kernels: str | None
) -> Artifact | None:
    made = current_artifact.load_of_run(inputs, path)
    alike = made and current_artifact.is_verified_alike(inputs, made, kernels)
    return made if alike else None


def _describe_litert(
    inputs: ExportInputs, rows: Sequence[dict[str, Any]], made: Artifact
) -> dict[str, Any]:
    row = {
        "format": made.path.stem.removeprefix("model_"),
        **benchmark.describe_artifact(made),
        **benchmark.measure_footprint(inputs, str(made.path)),
    }
    other = next((each for each in rows if each["format"] == "int8"), {})
    if made.manifest["scheme"] == "int8" and "path" in other:
        row["agreement_with_int8"] = _measure_agreement(
            inputs, pathlib.Path(other["path"]), made.path
        )
    return row


def _measure_agreement(inputs: ExportInputs, *paths: pathlib.Path) -> float:
    """The share of test images to which two files give the same answer."""
    kernels = inputs.verification.kernels
    answers = [
        verification.predict(
            inputs.verification_set, tflite_writer.open_predictor(path, kernels), name
        )
        for path, name in zip(paths, ("int8", "int8 by litert-quantizer"), strict=True)
    ]
    flips = verification.count_flips(*answers)
    return 1 - flips / len(inputs.verification_set.labels)


def measure_onnx(
    inputs: ExportInputs, rows: Sequence[dict[str, Any]], asked: bool
) -> list[dict[str, Any]]:
    """Returns the row of the ONNX file.

    Raises:
        TargetMissing: there is none.
        InvalidInput: it is to be exported, and its packages are not installed.
        TrainingFailed: it cannot be exported or run.
    """
    made = _load(inputs, inputs.folder / onnx_writer.FILE, None)
    if made is None and not asked:
        raise TargetMissing("export.onnx has made no file of this run")
    onnx_packages.check_installed()
    made = made or onnx_writer.write_onnx(inputs)
    model = str(made.path)
    return [
        {
            "format": "onnx",
            **benchmark.describe_artifact(made),
            **benchmark.measure_footprint(inputs, model),
        }
    ]


def measure_compiled(
    inputs: ExportInputs, rows: Sequence[dict[str, Any]], asked: bool
) -> list[dict[str, Any]]:
    """Returns a row for each file that LiteRT's CompiledModel API is tried with.

    Raises:
        TargetMissing: none of these files could be measured.
        TrainingFailed: an answer is no probability, or the process has ended.
    """
    known = [row for row in rows if row["format"] in _COMPILED_FORMATS]
    found = [_measure_compiled(inputs, row) for row in known if "failed" not in row]
    if not found:
        raise TargetMissing("there is no float32 or int8 file to run")
    return found


def _measure_compiled(inputs: ExportInputs, row: dict[str, Any]) -> dict[str, Any]:
    name = f"{row['format']}_compiled"
    options = FileOptions(
        Output.PROBABILITIES,
        kernels=inputs.verification.kernels,
        engine=LiteRtApi.COMPILED,
    )
    path = pathlib.Path(row["path"])
    predictor = model_files.open_file(path, options)
    answers = verification.predict(inputs.verification_set, predictor, name)
    facts = {key: row[key] for key in ("file", "scheme", "bytes") if key in row}
    model = f"{COMPILED}{path}"
    return {
        "format": name,
        **facts,
        **verification.describe(inputs.verification_set, predictor, answers),
        "path": model,
        **benchmark.measure_footprint(inputs, model),
    }
