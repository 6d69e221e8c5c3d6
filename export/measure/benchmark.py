"""Measures every format of a run: accuracy, size, load time, memory and latency.

A format that is missing, or belongs to other weights, is exported first.
docs/export.md has the fields of bench.json.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from eval.formats import manifest as manifests
from eval.formats import model_signature
from eval.metrics import classification
from eval.predictors import engine, sandbox, tflite_predictor
from eval.predictors.engine import Kernels
from export.artifact import current_artifact, verification
from export.artifact.artifact import SAVED_MODEL, Artifact
from export.artifact.inputs import ExportInputs
from export.artifact.number_formats import Scheme, resolve_formats
from export.lite import tflite_writer
from export.lite.tflite_options import TFLiteOptions
from export.measure import child_process, latency
from export.measure.targets.target import (
    CHECKPOINT,
    FORMATS,
    NOT_ROUNDED,
    BenchOptions,
)
from export.serving import saved_model_writer
from trainer.errors import TrainingFailed
from trainer.monitoring.progress import CONSOLE
from trainer.rundir import checkpoints

# Fields of a manifest that a row has, and those that show that a file is of this run.
_KEPT = ("file", "scheme", "bytes", "operators", "multiply_accumulates")


def measure_formats(
    inputs: ExportInputs, options: BenchOptions
) -> list[dict[str, Any]]:
    """Returns a row of each format, without latency; a failed row has the reason."""
    return [_measure_format(inputs, name) for name in list_formats(inputs, options)]


def list_formats(inputs: ExportInputs, options: BenchOptions) -> list[str]:
    """Lists the FORMATS that are to be measured and that the run was trained for."""
    left_out = NOT_ROUNDED if inputs.network.is_rounded else ()
    return [name for name in FORMATS if options.measures(name) and name not in left_out]


def add_latencies(
    rows: Sequence[dict[str, Any]], threads: int, key: str, kernels: Kernels
) -> None:
    """Adds the latency of each valid row with a "path" as `key`.

    If a file ends the process that runs all files in turn, its row has failed, and the
    others are run again.
    """
    while sound := {
        row["path"]: row for row in rows if "failed" not in row and "path" in row
    }:
        phase = f"timing {len(sound)} files, {threads} threads"
        arguments = (str(threads), kernels.value, *sound)
        turns = len(sound) * (1 + latency.ROUNDS)  # loading a file is a turn, too
        try:
            with CONSOLE.count(turns, phase, "turns") as tick:
                latencies = child_process.run_module(
                    "export.measure.latency", *arguments, on_turn=lambda: tick(1)
                )
            for path, row in sound.items():
                row[key] = {"threads": threads, **latencies[path]}
            return
        except child_process.ChildFailed as error:
            failed = sound.values()
            if error.path in sound:
                failed = [sound[error.path]]
            for row in failed:
                name = row["format"]
                row.clear()
                row |= _failed_row(name, error)


def _failed_row(name: str, error: Exception) -> dict[str, Any]:
    return {"format": name, "failed": " ".join(str(error).split())}


def _measure_format(inputs: ExportInputs, name: str) -> dict[str, Any]:
    """Returns the row of one format, without its latency."""
    try:
        if name == CHECKPOINT:
            facts = _describe_checkpoint(inputs)
        else:
            facts = describe_artifact(_load_or_export(inputs, name))
        return {"format": name, **facts, **measure_footprint(inputs, facts["path"])}
    except (TrainingFailed, OSError, ValueError) as error:
        return _failed_row(name, error)


def measure_footprint(inputs: ExportInputs, model: str) -> dict[str, float]:
    """Measures load time and memory of `model`, see `loader.prepare_loader`.

    Raises:
        TrainingFailed: the process that loads it has ended.
    """
    kernels = inputs.verification.kernels.value
    with CONSOLE.phase(f"measuring load and memory of {pathlib.Path(model).name}"):
        return child_process.run_module("export.measure.footprint", model, kernels)


def _describe_checkpoint(inputs: ExportInputs) -> dict[str, Any]:
    test = verification.compare(
        inputs.verification_set,
        inputs.verification_set.reference,
        classification.SMALLEST,
    )
    step = inputs.source.facts["step"]
    path = checkpoints.step_folder(inputs.run.checkpoints, step)
    size = sum(file.stat().st_size for file in path.iterdir())
    facts = {"file": path.name, "bytes": size, "engine": engine.describe_tensorflow()}
    return {"path": str(inputs.run.path), **facts, **test}


def describe_artifact(made: Artifact) -> dict[str, Any]:
    """The fields of a row that are in the manifest of a file, and its path."""
    manifest = made.manifest
    facts = {key: manifest[key] for key in _KEPT if key in manifest}
    facts["signature"] = model_signature.describe(made.path, None)
    return {"path": str(made.path), **facts, **manifests.verification(manifest)}


def _load_or_export(inputs: ExportInputs, name: str) -> Artifact:
    """Loads the artifact of a format, or exports it.

    Raises:
        InvalidInput: the existing file crashes its interpreter.
    """
    made = current_artifact.load_current(inputs, name)
    if name == SAVED_MODEL:
        return made or saved_model_writer.write_saved_model(inputs)
    if made is None:
        scheme, io = resolve_formats(False, Scheme(name), None)
        return tflite_writer.write_tflite(inputs, TFLiteOptions(scheme, io))
    resolver = tflite_predictor.RESOLVERS[inputs.verification.kernels].value
    sandbox.check_file(made.path, made.path.read_bytes(), resolver)
    return made


def enforce_gates(rows: Sequence[Mapping[str, Any]], limit: float) -> None:
    """Checks that no row failed and each passes the gate of its format.

    A file that was there already may have been exported with another limit.

    Raises:
        TrainingFailed: some failed or missed their gate.
    """
    missed = [
        row["format"] for row in rows if "failed" in row or not passes_gate(row, limit)
    ]
    if missed:
        raise TrainingFailed(
            f"{', '.join(missed)} failed or missed the gate with "
            f"max_accuracy_drop={limit}"
        )


def passes_gate(row: Mapping[str, Any], limit: float) -> bool:
    """Whether a row that has not failed is within the limits of its number format."""
    name = row["format"]
    exact = name in (CHECKPOINT, SAVED_MODEL)
    scheme = None if exact else Scheme(row.get("scheme", name))
    try:
        verification.Gate.for_scheme(scheme, limit).enforce(row)
    except TrainingFailed:
        return False
    return True
