"""Writes a run as ONNX, verified in ONNX Runtime before it gets its name."""

from typing import Any

from eval.predictors import model_files
from eval.predictors.file_options import FileOptions
from eval.predictors.outputs import Output
from export.artifact import artifact, file_verification
from export.artifact.artifact import Artifact
from export.artifact.export_options import ExportRequest
from export.artifact.inputs import ExportInputs, open_inputs
from export.artifact.number_formats import Io, Scheme
from export.onnx_files import onnx_converter, onnx_packages
from trainer import files

FILE = "model_float32.onnx"


def export_onnx(request: ExportRequest) -> Artifact:
    """Opens the run of `request` and writes it as ONNX, see `write_onnx`."""
    return write_onnx(open_inputs(request))


def write_onnx(inputs: ExportInputs) -> Artifact:
    """Writes, verifies and names an ONNX file.

    Raises:
        InvalidInput: a package is not installed, or a folder has the file's name.
        TrainingFailed: an answer is not the checkpoint's, or it cannot be converted or
            written; then no file has its name, or the one that had it before.
    """
    onnx_packages.check_installed()
    final = inputs.folder / FILE
    artifact.check_replaceable(final)
    content = onnx_converter.convert(inputs.network)
    facts = inputs.facts() | _describe_file(content)
    described = (inputs.describe(), facts["labels"], facts["temperature"])
    with artifact.staging_folder(inputs.folder) as folder:
        path = folder / FILE
        files.write_bytes(path, onnx_converter.add_metadata(content, *described))
        predictor = model_files.open_file(path, FileOptions(Output.PROBABILITIES))
        facts |= file_verification.verify_file(inputs, predictor, Scheme.FLOAT32, FILE)
        # The graph that was measured is the one that ships, with its results.
        files.write_bytes(path, onnx_converter.add_metadata(content, *described, facts))
        return artifact.publish_file(path, final, facts)


def _describe_file(content: bytes) -> dict[str, Any]:
    return {
        "format": "onnx",
        "scheme": Scheme.FLOAT32.value,
        "io": {
            "input": Io.UINT8.value,
            "output": Io.FLOAT32.value,
            "output_is": "probabilities",
            "input_is": "pixel",
        },
        "opset": onnx_converter.OPSET,
        "converter": onnx_converter.describe_converter(),
        "operators": onnx_converter.count_operators(content),
    }
