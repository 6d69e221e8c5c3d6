"""Writes a run as C source for TensorFlow Lite Micro, verified with its interpreter."""

import importlib.metadata
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from eval.formats import manifest as manifests
from eval.formats.flatbuffer import FlatbufferInfo
from eval.predictors.outputs import Output
from eval.predictors.predictor import Predictor
from export.artifact import answer_thresholds, artifact, verification
from export.artifact.artifact import Artifact
from export.artifact.inputs import ExportInputs
from export.artifact.number_formats import Scheme
from export.lite import converter, layer_errors, metadata_writer, tflite_writer
from export.lite.tflite_options import TFLiteOptions
from export.microcontroller.micro_formats import (
    ACTIVATION_BYTES,
    FOLDER,
    MICRO_IO,
    PACKAGE,
    MicroOptions,
    raw_answers,
)
from export.microcontroller.tflm import c_source, cmsis_nn, project_files
from export.microcontroller.tflm.c_source import ModelConstants
from export.microcontroller.tflm.interpreter import MicroModel
from trainer import files
from trainer.errors import TrainingFailed
from trainer.monitoring.progress import CONSOLE


def write_tflm(inputs: ExportInputs, options: MicroOptions) -> Artifact:
    """Writes, verifies and names the C source.

    Raises:
        InvalidInput: what is no export has the folder's name.
        TrainingFailed: it fails its gate, or cannot be run or written.
    """
    scheme, final = options.scheme, inputs.folder / FOLDER / options.folder
    artifact.check_replaceable_folder(final)
    lite = TFLiteOptions(scheme, MICRO_IO[scheme])
    images = tflite_writer.select_calibration_images(inputs, lite)
    _print(_estimate_size(inputs, options))
    content = metadata_writer.align_buffers(
        converter.convert(inputs.network, scheme, lite.io, images)
    )
    errors = tflite_writer.measure_layers(inputs, content, images)
    model = _open_model(content, options)
    count = len(inputs.verification_set.labels)
    count += answer_thresholds.count_images(inputs)
    _print(verification.describe_duration(count, model.image_secs, PACKAGE))
    with artifact.staging_folder(inputs.folder) as folder:
        litert = _open_in_litert(inputs, content, lite, folder)
        verified = _verify(inputs, model, litert)
        drop = inputs.verification.max_accuracy_drop
        worst = layer_errors.describe_worst(errors)
        verification.Gate.for_scheme(scheme, drop).enforce(
            verified[inputs.evaluated_on], worst
        )
        calibrated = None if inputs.network.is_rounded else images
        facts = inputs.facts() | tflite_writer.describe_file(content, lite, calibrated)
        facts |= {"format": "micro", "runtime": options.runtime.value, **verified}
        facts |= {"layers": [each.to_json() for each in errors]}
        facts |= describe_arenas(model, content, scheme)
        facts["tflite_micro"] = importlib.metadata.version(PACKAGE)
        path = folder / final.name
        source = format_project(inputs, model, content, options, facts)
        _write_source(path, source)
        return artifact.publish_folder(path, final, facts)


def _write_source(folder: pathlib.Path, source: Mapping[str, str]) -> None:
    folder.mkdir()
    for name, text in source.items():
        files.write_bytes(folder / name, text.encode())


def format_project(
    inputs: ExportInputs,
    model: MicroModel,
    content: bytes,
    options: MicroOptions,
    facts: Mapping[str, Any],
) -> dict[str, str]:
    """Formats every file of the folder: its text by its name."""
    constants = _constants(inputs, model, facts)
    images = inputs.verification_set.images
    images = images[options.vector_rows(len(images))]
    answers = raw_answers(model(images, lambda _: None), model.output)
    operators = FlatbufferInfo(content).operators()
    return {
        "model.h": c_source.format_header(content, constants),
        "model.c": c_source.format_source(content, constants),
        "resolver.h": project_files.format_resolver(operators),
        **project_files.format_vectors(options.scheme, images, answers),
        "sketch.cc": project_files.format_sketch(
            options.scheme, cmsis_nn=constants.cmsis_nn_bytes is not None
        ),
        "README.md": project_files.format_readme(
            model_bytes=len(content),
            operators=len(operators),
            vectors=len(images),
            arena_bytes=constants.arena_bytes,
            cmsis_nn_bytes=constants.cmsis_nn_bytes,
        ),
    }


def describe_arenas(
    model: MicroModel, content: bytes, scheme: Scheme
) -> dict[str, Any]:
    """Collects the fields of a manifest about the arena, for each set of kernels.

    Args:
        content: the bytes of `model`.
    """
    reference = model.arena_bytes
    extra = cmsis_nn.extra_bytes(FlatbufferInfo(content), ACTIVATION_BYTES[scheme])
    needs = {kind: None if n is None else reference + n for kind, n in extra.items()}
    return {
        "arena_bytes": reference,
        "arena": {
            "reference": {"bytes": reference, "measured": True},
            "cmsis_nn": {**needs, "measured": False},
        },
    }


def arena_summary(made: Artifact) -> str:
    """Formats memory and agreement with LiteRT as one line."""
    litert = manifests.verification(made.manifest)["litert"]
    arena_bytes = made.manifest["arena_bytes"]
    cmsis_nn_bytes = _cmsis_nn_bytes(made.manifest["arena"])
    known = "unknown" if cmsis_nn_bytes is None else f"{cmsis_nn_bytes:,}"
    return (
        f"arena {arena_bytes:,} bytes with the reference kernels (measured), "
        f"{known} with CMSIS-NN's (computed); "
        f"{litert['agreement']:.2%} of answers as in "
        f"LiteRT, probabilities within {litert['largest_difference']:.4f}"
    )


def _cmsis_nn_bytes(arena: Mapping[str, Any]) -> int | None:
    """Returns the arena for DSP and for MVE instructions; None if it is not known."""
    needs = [arena["cmsis_nn"]["dsp"], arena["cmsis_nn"]["mve"]]
    return None if None in needs else max(needs)


def _print(line: str | None) -> None:
    if line is not None:
        print(line, file=sys.stderr, flush=True)


def _estimate_size(inputs: ExportInputs, options: MicroOptions) -> str:
    """Describes the estimated size of the model before its conversion."""
    count = sum(int(w.shape.num_elements()) for w in inputs.network.weights)
    size = count * (4 if options.scheme is Scheme.FLOAT32 else 1)
    return f"{options.folder}: {count:,} weights, about {size:,} bytes of flash"


def _open_model(content: bytes, options: MicroOptions) -> MicroModel:
    """Opens `content` in the smallest arena; prints the sizes of both."""
    try:
        with CONSOLE.phase("looking for the smallest arena"):
            model = MicroModel(content)
    except RuntimeError as error:
        raise TrainingFailed(f"scheme={options.scheme.value}: {error}") from error
    _print(
        f"{options.folder}: {len(content):,} bytes of flash for the model, an "
        f"arena of {model.arena_bytes:,} bytes with the reference kernels"
    )
    return model


def _open_in_litert(
    inputs: ExportInputs, content: bytes, options: TFLiteOptions, folder: pathlib.Path
) -> Predictor:
    """Opens the same model in LiteRT."""
    path = folder / "litert.tflite"
    description = tflite_writer.describe_model(inputs, options)
    names = inputs.verification_set.names
    described = metadata_writer.add_metadata(content, description, names)
    files.write_bytes(path, described)
    return tflite_writer.open_predictor(path, inputs.verification.kernels)


def _verify(
    inputs: ExportInputs, model: MicroModel, litert: Predictor
) -> dict[str, Any]:
    """Returns what it scored, with the differences from LiteRT, and thresholds."""
    verification_set = inputs.verification_set
    predictor = Predictor(PACKAGE, model, Output.PROBABILITIES)
    probabilities = verification.predict(verification_set, predictor, PACKAGE)
    reference = verification.predict(verification_set, litert, "LiteRT")
    flips = verification.count_flips(probabilities, reference)
    test = verification.describe(verification_set, predictor, probabilities)
    zero_point = model.output[1] if model.step else None
    thresholds = answer_thresholds.choose_thresholds(
        inputs, predictor, zero_point, probabilities
    )
    test |= {
        "litert": {
            "engine": dict(litert.model.engine),
            "agreement": 1 - flips / len(probabilities),
            "flips": flips,
            "largest_difference": float(abs(probabilities - reference).max()),
        },
    }
    return {inputs.evaluated_on: test, **thresholds}


def _constants(
    inputs: ExportInputs, model: MicroModel, facts: Mapping[str, Any]
) -> ModelConstants:
    weights = facts["weights_sha256"][:12]
    return ModelConstants(
        comment=f"{facts['scheme']} network, weights {weights}; see manifest.json",
        image_shape=inputs.network.image_shape,
        input_is=f"input: {facts['io']['input_is']}",
        input=model.input,
        output=model.output,
        arena_bytes=model.arena_bytes,
        cmsis_nn_bytes=_cmsis_nn_bytes(facts["arena"]),
        labels=inputs.verification_set.names,
        abstain=facts["abstain"],
    )
