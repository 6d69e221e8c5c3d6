"""Measures standalone C on this machine, and counts its instructions on a chip."""

import pathlib
import re
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

from eval.formats import manifest as manifests
from eval.predictors import outputs
from eval.predictors.outputs import Output
from export.artifact import current_artifact, verification
from export.artifact.artifact import Artifact
from export.artifact.inputs import ExportInputs
from export.measure import latency
from export.measure.targets.target import TargetMissing
from export.microcontroller.micro_formats import FOLDER, MicroOptions, Runtime
from export.microcontroller.standalone import host_check, standalone_writer
from trainer.errors import TrainingFailed
from trainer.monitoring.progress import CONSOLE

_STEP = 1 / 256  # of a probability in the C program
_EMULATOR = ("make", "arm-none-eabi-gcc", "qemu-system-arm")
_CHIP = "Cortex-M4 (mps2-an386)"
_TICK = 40  # instructions, see cortex_m/startup.c
_OPTIONS = MicroOptions(Runtime.STANDALONE)


def measure_standalone(
    inputs: ExportInputs, rows: Sequence[dict[str, Any]], asked: bool
) -> list[dict[str, Any]]:
    """Returns the row of the C program, compiled and run here on all test images.

    Raises:
        TargetMissing: there is no C program of this run, or no compiler.
        InvalidInput: it is to be written, and has an operator without a kernel.
        TrainingFailed: it cannot be compiled, run or written.
    """
    if host_check.find_compiler() is None:
        raise TargetMissing("there is no C compiler on this machine")
    made = _load_or_export(inputs, asked)
    expected = inputs.verification_set
    found = host_check.run_program(made.path, expected.images)
    answers = found.answers.astype(float) * _STEP
    floor = outputs.min_probability(Output.PROBABILITIES, _STEP)
    row = _describe(made, "standalone") | {
        **verification.compare(expected, answers, floor),
        "engine": {"name": "C", "version": found.compiler, "delegate": None},
        "one_thread": {"threads": 1, **latency.describe(found.round_ms)},
    }
    return [row]


def measure_cortex_m4(
    inputs: ExportInputs, rows: Sequence[dict[str, Any]], asked: bool
) -> list[dict[str, Any]]:
    """Returns the row of the C program on an emulated Cortex-M4.

    It answers the test vectors of the folder, byte for byte as LiteRT's reference
    kernels, or the row has failed. The scores are those of that file on all images.

    Raises:
        TargetMissing: there is no C program of this run, or no emulator.
        InvalidInput: it is to be written, and has an operator without a kernel.
        TrainingFailed: it cannot be compiled, gives another byte, or cannot be written.
    """
    if missing := [tool for tool in _EMULATOR if shutil.which(tool) is None]:
        raise TargetMissing(f"there is no {missing[0]} on this machine")
    made = _load_or_export(inputs, asked)
    with CONSOLE.phase("counting instructions on an emulated Cortex-M4"):
        ticks, vectors = _emulate(made.path)
    row = _describe(made, "cortex_m4") | {
        **manifests.verification(made.manifest),
        "engine": {"name": "QEMU", "version": _CHIP, "delegate": None},
        "instructions": _TICK * ticks,
        "equal_vectors": vectors,
    }
    return [row]


def _load_or_export(inputs: ExportInputs, asked: bool) -> Artifact:
    path = inputs.folder / FOLDER / _OPTIONS.folder
    made = current_artifact.load_of_run(inputs, path)
    if made is not None and "flash" in made.manifest:
        return made
    if not asked:
        raise TargetMissing("export.micro --runtime=standalone has written no C of it")
    return standalone_writer.write_standalone(inputs, _OPTIONS)


def _describe(made: Artifact, name: str) -> dict[str, Any]:
    """The fields of both rows that are about the program's size."""
    manifest, flash = made.manifest, made.manifest["flash"]
    return {
        "format": name,
        "file": f"{FOLDER}/{made.path.name}",
        "scheme": manifest["scheme"],
        "bytes": flash["constants"] + (flash["code"] or 0),
        "peak_memory_bytes": manifest["arena_bytes"],
    }


def _emulate(folder: pathlib.Path) -> tuple[int, int]:
    """Runs the program of `folder`; returns ticks of an image, and equal vectors."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copytree(folder, pathlib.Path(scratch) / "c")
        done = host_check.run_tool(["make", "-C", copy, "emulate"])
    said = done.stdout.decode(errors="replace")
    ticks = re.search(r"(\d+) ticks per image", said)
    vectors = re.search(r"(\d+) of \1 vectors equal", said)
    if ticks is None or vectors is None:
        raise TrainingFailed("the emulated program says nothing of its vectors")
    return int(ticks[1]), int(vectors[1])
