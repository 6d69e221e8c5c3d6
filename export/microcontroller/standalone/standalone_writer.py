"""Writes a run as plain C99, byte for byte LiteRT's reference kernels."""

import dataclasses
import hashlib
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.formats import embedded
from eval.formats import manifest as manifests
from eval.predictors import sandbox, tflite_predictor
from eval.predictors.engine import Kernels
from eval.predictors.predictor import Predictor
from export.artifact import answer_thresholds, artifact, verification
from export.artifact.artifact import Artifact
from export.artifact.inputs import ExportInputs
from export.artifact.number_formats import Io, Scheme, file_name
from export.examples import program_folder, standalone_program
from export.examples.program_facts import ProgramFacts
from export.lite import converter, metadata_writer, tflite_writer
from export.lite.tflite_options import TFLiteOptions
from export.microcontroller.micro_formats import FOLDER, MicroOptions, raw_answers
from export.microcontroller.standalone import c_program, host_check
from export.microcontroller.standalone.c_program import CDescription
from export.microcontroller.standalone.host_check import HostAnswers
from export.microcontroller.standalone.integer_graph import parse_graph
from export.microcontroller.standalone.program import Program, build_program
from trainer import files, system
from trainer.errors import InvalidInput, TrainingFailed
from trainer.monitoring.printable import shortened

_TFLITE = "model.tflite"
_OWN = ("weights_sha256", "temperature", "labels")  # fields that say whose a file is
_LITE = TFLiteOptions(Scheme.INT8, Io.UINT8)


@dataclasses.dataclass(frozen=True)
class _Reference:
    """What LiteRT's reference kernels answer.

    Attributes:
        predictor: runs the file.
        probabilities: of the test images, float64 [N, K].
        answers: the same in steps of 1/256, uint8 [N, K].
        thresholds: fields of the manifest.
    """

    predictor: Predictor
    probabilities: np.ndarray
    answers: np.ndarray
    thresholds: Mapping[str, Any]


def write_standalone(inputs: ExportInputs, options: MicroOptions) -> Artifact:
    """Writes, verifies and names the C program.

    Raises:
        InvalidInput: the file has an operator without a kernel, or other images, or
            what is no export has the folder's name.
        TrainingFailed: it fails its gate, or cannot be compiled, run or written.
    """
    final = inputs.folder / FOLDER / options.folder
    artifact.check_replaceable_folder(final)
    content, name = _load_content(inputs, options)
    program = build_program(parse_graph(content, name))
    _check_shapes(inputs, program, name)
    with artifact.staging_folder(inputs.folder) as folder:
        path = folder / final.name
        path.mkdir()
        files.write_bytes(path / _TFLITE, content)
        reference = _answer(inputs, path / _TFLITE)
        _write_source(inputs, options, program, path, reference)
        host = host_check.run_program(path, inputs.verification_set.images)
        facts = _facts(inputs, content, program, reference, path)
        facts |= {"host": _check_host(host, reference.answers)}
        drop = inputs.verification.max_accuracy_drop
        gate = verification.Gate.for_scheme(Scheme.INT8, drop)
        gate.enforce(manifests.verification(facts))
        count = len(options.vector_rows(len(reference.answers)))
        readme = _format_readme(program, facts, count)
        files.write_bytes(path / "README.md", readme.encode())
        program = standalone_program.format_program(ProgramFacts.from_manifest(facts))
        program_folder.write_programs(path / program_folder.INSIDE, program)
        return artifact.publish_folder(path, final, facts)


def check_file(path: pathlib.Path) -> None:
    """Checks that the `.tflite` at `path` can be written as C.

    Raises:
        InvalidInput: it cannot.
    """
    content = _read_file(path)
    resolver = tflite_predictor.RESOLVERS[Kernels.REFERENCE].value
    sandbox.check_file(path, content, resolver)
    build_program(parse_graph(content, str(path)))


def memory_summary(made: Artifact) -> str:
    """Formats flash, RAM and what was proven as one line."""
    manifest = made.manifest
    flash, host = manifest["flash"], manifest["host"]
    code = "unknown" if flash["code"] is None else f"{flash['code']:,}"
    if host is None:
        proof = "not compiled: there is no C compiler here"
    else:
        proof = (
            f"{host['images']:,} of {host['images']:,} images byte for byte as in"
            f" LiteRT's reference kernels, {host['image_ms']:.2f} ms per image"
        )
    return (
        f"flash {flash['constants']:,} bytes of constants and {code} of code, RAM"
        f" {manifest['arena_bytes']:,} bytes; {proof}"
    )


def _load_content(inputs: ExportInputs, options: MicroOptions) -> tuple[bytes, str]:
    """The `.tflite` and its name: the named one, the exported one, or a new one."""
    if options.file is not None:
        _check_origin(inputs, options.file)
        return _read_file(options.file), str(options.file)
    exported = inputs.folder / file_name(Scheme.INT8, Io.UINT8)
    if artifact.load_matching(exported, inputs.facts(), _OWN):
        return exported.read_bytes(), str(exported)
    images = tflite_writer.select_calibration_images(inputs, _LITE)
    content = converter.convert(inputs.network, _LITE.scheme, _LITE.io, images)
    described = metadata_writer.add_metadata(
        content,
        tflite_writer.describe_model(inputs, _LITE),
        inputs.verification_set.names,
    )
    return described, "the int8 file of the run"


def _read_file(path: pathlib.Path) -> bytes:
    try:
        return files.read_bytes(path, system.free_bytes() // 8)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error


def _check_origin(inputs: ExportInputs, path: pathlib.Path) -> None:
    """Checks that the file at `path` is of this run, where it says whose it is.

    Raises:
        InvalidInput: it says that it is of another; the manifest would be wrong.
    """
    said, facts = embedded.load_description(path, {}), inputs.facts()
    for field in _OWN:
        if field in said and _shown(said[field]) != _shown(facts[field]):
            raise InvalidInput(
                f"{path} is not of this run as it is exported: its {field} is"
                f" {shortened(_shown(said[field]))}, not"
                f" {shortened(_shown(facts[field]))};\nname a file of this run"
            )


def _shown(value: object) -> str:
    """A field in one line; labels as they are written inside a file."""
    if not isinstance(value, list):
        return str(value)
    return ", ".join(embedded.one_line(str(each)).strip() for each in value)


def _check_shapes(inputs: ExportInputs, program: Program, name: str) -> None:
    shape, classes = inputs.network.image_shape, len(inputs.verification_set.names)
    if program.image_shape != tuple(shape) or program.classes != classes:
        raise InvalidInput(
            f"{name} takes images {program.image_shape} and has {program.classes}"
            f" classes, the run {tuple(shape)} and {classes};\nname a file of this run"
        )


def _predict(
    inputs: ExportInputs, path: pathlib.Path, kernels: Kernels
) -> tuple[Predictor, np.ndarray]:
    """The predictor of the file, and its probabilities of the test images."""
    predictor = tflite_writer.open_predictor(path, kernels)
    title = f"LiteRT, {kernels.value} kernels"
    return predictor, verification.predict(inputs.verification_set, predictor, title)


def _answer(inputs: ExportInputs, path: pathlib.Path) -> _Reference:
    predictor, probabilities = _predict(inputs, path, Kernels.REFERENCE)
    zero_point = 0  # of the program's bytes
    thresholds = answer_thresholds.choose_thresholds(
        inputs, predictor, zero_point, probabilities
    )
    answers = _bytes(probabilities, inputs)
    return _Reference(predictor, probabilities, answers, thresholds)


def _bytes(probabilities: np.ndarray, inputs: ExportInputs) -> np.ndarray:
    """The probabilities in steps of 1/256, uint8 [N, K]."""
    raw = raw_answers(probabilities, (1 / 256, 0))
    if not ((raw >= 0) & (raw <= 255)).all():
        raise InvalidInput("the file does not answer with probabilities")
    return raw.astype(np.uint8).reshape(len(inputs.verification_set.labels), -1)


def _write_source(
    inputs: ExportInputs,
    options: MicroOptions,
    program: Program,
    folder: pathlib.Path,
    reference: _Reference,
) -> None:
    rows = options.vector_rows(len(reference.answers))
    facts = inputs.facts()
    name, weights = inputs.run.config().model.name, facts["weights_sha256"][:12]
    about = CDescription(
        comment=f"{name} trained on {inputs.data}, int8, weights {weights};"
        " see manifest.json",
        labels=inputs.verification_set.names,
        images=inputs.verification_set.images[rows],
        answers=reference.answers[rows],
        abstain=reference.thresholds["abstain"],
    )
    for path, text in c_program.format_project(program, about).items():
        (folder / path).parent.mkdir(exist_ok=True)
        files.write_bytes(folder / path, text.encode())


def _check_host(host: HostAnswers | None, answers: np.ndarray) -> dict[str, Any] | None:
    """Checks that the compiled program gives the bytes of LiteRT.

    Raises:
        TrainingFailed: it does not.
    """
    if host is None:
        print("no C compiler here: the program is not run", file=sys.stderr, flush=True)
        return None
    wrong = int((host.answers != answers).any(axis=1).sum())
    if wrong:
        raise TrainingFailed(
            f"the C program answers {wrong:,} of {len(answers):,} images unlike"
            f" LiteRT's reference kernels ({host.compiler}); nothing was kept"
        )
    return {
        "compiler": host.compiler,
        "images": len(answers),
        "different": wrong,
        "image_ms": host.image_ms,
    }


def _facts(
    inputs: ExportInputs,
    content: bytes,
    program: Program,
    reference: _Reference,
    folder: pathlib.Path,
) -> dict[str, Any]:
    """The fields of the manifest."""
    predictor, probabilities = reference.predictor, reference.probabilities
    lite = TFLiteOptions(
        Scheme.INT8, Io(parse_graph(content, _TFLITE).input.dtype.name)
    )
    test = verification.describe(inputs.verification_set, predictor, probabilities)
    _, other = _predict(inputs, folder / _TFLITE, Kernels.XNNPACK)
    return {
        **inputs.facts(),
        **tflite_writer.describe_file(content, lite, None),
        "format": "micro",
        "runtime": "standalone",
        "tflite_sha256": hashlib.sha256(content).hexdigest(),
        inputs.evaluated_on: test,
        **reference.thresholds,
        "xnnpack": {
            "different": int((probabilities != other).any(axis=1).sum()),
            "flips": verification.count_flips(probabilities, other),
            "largest_difference": float(abs(probabilities - other).max()),
        },
        "flash": {
            "constants": program.constant_bytes,
            "code": host_check.measure_code_bytes(folder, program.constant_bytes),
        },
        "arena_bytes": program.arena_bytes,
    }


def _format_readme(program: Program, facts: Mapping[str, Any], vectors: int) -> str:
    height, width, channels = program.image_shape
    code, host, other = facts["flash"]["code"], facts["host"], facts["xnnpack"]
    proof = "It was not compiled: no C compiler was there."
    if host is not None:
        proof = f"Compiled by {host['compiler']}, it was so for all {host['images']:,}"
        proof += f" test images, {host['image_ms']:.2f} ms each."
    known = code is not None
    return c_program.fill_template(
        "README.md",
        height=height,
        width=width,
        channels=channels,
        constant_bytes=f"{program.constant_bytes:,}",
        code_bytes=f"{code:,}" if known else "about 8,000",
        code_how="measured for a Cortex-M4, -O2"
        if known
        else "`make size` measures it",
        arena_bytes=f"{program.arena_bytes:,}",
        vectors=vectors,
        thresholds=_describe_thresholds(facts["abstain"]),
        proof=proof,
        optimised=f"{other['different']:,} of the images have another probability"
        f" there, by {other['largest_difference']:.4f} at most, and {other['flips']:,}"
        " another class.",
    )


def _describe_thresholds(abstain: Mapping[str, Mapping[str, Any]]) -> str:
    """A list of what each threshold does, or why there is none."""
    return "\n".join(
        f"- `MODEL_THRESHOLD_{key.removeprefix('0.')}`: {_describe_entry(entry)}"
        for key, entry in abstain.items()
    )


def _describe_entry(entry: Mapping[str, Any]) -> str:
    if entry["threshold"] is None:
        return f"not defined. {entry['guarantee']}"
    test, right = entry["test"], "none is"
    if test is None:
        return f"not measured: the test split is closed. {entry['guarantee']}"
    if test["answered"]:
        right = f"{test['selective_accuracy']:.2%} of these are right"
    return (
        f"{test['answered']:,} of {test['images']:,} test images are answered, {right}."
        f" {entry['guarantee']}"
    )
