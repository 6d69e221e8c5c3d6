"""Writes a run as a `.tflite`, verified on the test split before it gets its name."""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from eval.formats.flatbuffer import FlatbufferInfo
from eval.predictors import model_files, sandbox
from eval.predictors.engine import Kernels
from eval.predictors.file_options import FileOptions
from eval.predictors.outputs import Output
from eval.predictors.predictor import Predictor
from export.artifact import (
    answer_thresholds,
    artifact,
    file_verification,
    verification,
)
from export.artifact.artifact import Artifact
from export.artifact.export_options import ExportRequest
from export.artifact.inputs import ExportInputs, open_inputs
from export.artifact.number_formats import NEEDS_CALIBRATION, Io, Scheme
from export.examples import lite_programs, program_folder
from export.examples.program_facts import ProgramFacts
from export.lite import conversion_route, layer_errors, metadata_writer
from export.lite.calibration_images import CalibrationImages
from export.lite.layer_errors import LayerError
from export.lite.metadata_writer import ModelDescription
from export.lite.tflite_options import TFLiteOptions
from trainer import files
from trainer.models.normalization import NORMALIZED, PIXEL_MEAN
from trainer.monitoring import native_output

# The converter's own entry says 1.5.0 for int16x8: it is made before quantisation. The
# kernels came with 2.3 (versions of CONV_2D and SOFTMAX in runtime_version.cc).
_FIRST_RUNTIME = {Scheme.INT16X8: "2.3.0"}
_INPUT_IS = {Io.UINT8: "pixel", Io.INT8: f"pixel - {PIXEL_MEAN}"}


def export_tflite(request: ExportRequest, options: TFLiteOptions) -> Artifact:
    """Opens the run of `request` and writes it as a `.tflite`, see `write_tflite`."""
    return write_tflite(open_inputs(request), options)


def write_tflite(inputs: ExportInputs, options: TFLiteOptions) -> Artifact:
    """Writes, verifies and names a `.tflite`.

    Raises:
        InvalidInput: calibration images are needed and cannot be had.
        TrainingFailed: it misses its gate or cannot be written; then no file has its
            name, or the one that had it before.
    """
    final = inputs.folder / options.file_name
    artifact.check_replaceable(final)
    program_folder.check_replaceable(final)
    images = select_calibration_images(inputs, options)
    converted = conversion_route.convert_network(inputs.network, options, images)
    model = converted.content
    errors = measure_layers(inputs, model, images)
    described = metadata_writer.add_metadata(
        model, describe_model(inputs, options), inputs.verification_set.names
    )
    with artifact.staging_folder(inputs.folder) as folder:
        path = folder / final.name
        files.write_bytes(path, described)
        verified = _verify(inputs, options.scheme, path, errors)
        calibrated = None if inputs.network.is_rounded else images
        facts = inputs.facts() | describe_file(model, options, calibrated)
        facts |= converted.facts | verified
        # Appended after the model: the bytes that were measured are those that ship.
        files.write_bytes(path, metadata_writer.append_provenance(described, facts))
        facts |= {"layers": [each.to_json() for each in errors]}
        programs = folder / program_folder.beside(final).name
        facts |= {"examples": _write_programs(programs, final.name, facts)}
        return artifact.publish_file(path, final, facts, programs)


def _write_programs(
    folder: pathlib.Path, name: str, facts: Mapping[str, Any]
) -> dict[str, str]:
    """Writes the programs that use the file called `name`; returns their hashes."""
    known = ProgramFacts.from_manifest(facts)
    programs = lite_programs.format_programs(name, known)
    return program_folder.write_programs(folder, programs)


def measure_layers(
    inputs: ExportInputs, model: bytes, images: CalibrationImages | None
) -> list[LayerError]:
    """Measures the error of each layer of an integer model; empty for other schemes."""
    return layer_errors.measure(inputs.network, model, images) if images else []


def _verify(
    inputs: ExportInputs,
    scheme: Scheme,
    path: pathlib.Path,
    errors: Sequence[LayerError],
) -> dict[str, Any]:
    """Runs the file at `path`; returns what it scored, and its thresholds."""
    predictor = open_predictor(path, inputs.verification.kernels)
    line = verification.estimate_duration(
        inputs.verification_set,
        predictor,
        path.name,
        others=answer_thresholds.count_images(inputs),
    )
    if line is not None:
        print(line, file=sys.stderr, flush=True)
    return file_verification.verify_file(
        inputs,
        predictor,
        scheme,
        path.name,
        zero_point=predictor.model.output_zero_point,
        worst_layers=layer_errors.describe_worst(errors),
    )


def select_calibration_images(
    inputs: ExportInputs, options: TFLiteOptions
) -> CalibrationImages | None:
    """Selects the calibration images; None where the scheme needs none.

    Raises:
        InvalidInput: the training images are not the run's own, or hold test images.
    """
    if options.scheme not in NEEDS_CALIBRATION:
        return None
    return CalibrationImages.select(
        inputs.load_train(),
        inputs.test,
        validation_fraction=inputs.run.config().data.validation_fraction,
        held_out=inputs.data_source.held_out,
        count=options.calibration_images,
    )


def open_predictor(path: pathlib.Path, kernels: Kernels) -> Predictor:
    """Opens the `.tflite` at `path`, which this process has written, in LiteRT."""
    sandbox.mark_trusted(path.read_bytes())
    with native_output.suppress_native_stderr():  # a line when it makes its delegate
        return model_files.open_file(
            path, FileOptions(Output.PROBABILITIES, kernels=kernels)
        )


def describe_model(inputs: ExportInputs, options: TFLiteOptions) -> ModelDescription:
    """Describes the file in the words of its metadata."""
    scheme, io = options.scheme, options.io
    return metadata_writer.describe_model(
        inputs.run.config().model.name,
        inputs.describe(f", {scheme.value}"),
        inputs.network.image_shape,
        scheme,
        io,
    )


def describe_file(
    content: bytes, options: TFLiteOptions, images: CalibrationImages | None
) -> dict[str, Any]:
    """Returns the part of a manifest that is about the model `content`.

    Args:
        content: a `.tflite`, before metadata is added.
    """
    graph = FlatbufferInfo(content)
    scheme, io = options.scheme, options.io
    output = io if scheme in NEEDS_CALIBRATION else Io.FLOAT32
    scale, zero_point = graph.input_quantization()
    output_scale, output_zero_point = graph.output_quantization()
    return {
        "format": "tflite",
        "scheme": scheme.value,
        "io": {
            "input": io.value,
            "output": output.value,
            "output_is": "probabilities",
            "input_is": _INPUT_IS.get(io, NORMALIZED),
            "input_scale": scale,
            "input_zero_point": zero_point,
            "output_scale": output_scale,
            "output_zero_point": output_zero_point,
        },
        "bytes_without_metadata": len(content),
        "min_runtime_version": min_runtime_version(graph, scheme),
        "operators": graph.operators(),
        "quantised_kernels": graph.quantised_kernels(),
        "multiply_accumulates": graph.multiply_accumulates(),
        "calibration": images.facts() if images else None,
    }


def min_runtime_version(graph: FlatbufferInfo, scheme: Scheme) -> str | None:
    """The oldest TensorFlow Lite that runs the file; None if it is not known."""
    versions = [graph.min_runtime_version(), _FIRST_RUNTIME.get(scheme)]
    return max(
        filter(None, versions),
        key=lambda version: [int(part) for part in version.split(".")],
        default=None,
    )
