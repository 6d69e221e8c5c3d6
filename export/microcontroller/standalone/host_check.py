"""Compiles the C program where there is a compiler, and runs it on test images."""

import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import numpy as np

from export.microcontroller.standalone import c_program
from trainer import files, system
from trainer.errors import TrainingFailed
from trainer.monitoring.progress import CONSOLE, OnBatch

_FLAGS = ("-std=c99", "-O3")
_ARM = "arm-none-eabi-gcc"
ARM_FLAGS = ("-std=c99", "-O2", "-funroll-loops", "-mcpu=cortex-m4", "-mthumb")
_BLOCK = 256  # images that a process is given
_TIMED = 20  # images of the measurement
_SECS = 600  # of a compiler, or of a block of images


@dataclasses.dataclass(frozen=True)
class HostAnswers:
    """What the compiled program answered.

    Attributes:
        compiler: its first line on its version.
        answers: uint8 [N, K].
        image_ms: milliseconds that one image takes on one core.
    """

    compiler: str
    answers: np.ndarray
    image_ms: float


def find_compiler() -> str | None:
    """Finds the C compiler of this machine: $CC, cc, gcc or clang."""
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    return next(filter(None, (shutil.which(name) for name in names if name)), None)


def run_program(folder: pathlib.Path, images: np.ndarray) -> HostAnswers | None:
    """Compiles model.c in `folder` and answers `images`, uint8 [N, H, W, C].

    Returns:
        The answers; None if there is no compiler.

    Raises:
        TrainingFailed: it cannot be compiled or run.
    """
    compiler = find_compiler()
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        program = pathlib.Path(scratch) / "answer_stdin"
        driver = program.with_suffix(".c")
        files.write_new(driver, c_program.read_template("answer_stdin.c").encode())
        with CONSOLE.phase("compiling the C program"):
            words = [compiler, *_FLAGS, f"-I{folder}", driver, folder / "model.c"]
            _run([*words, "-o", program])
        _, secs = _answer(program, images[:_TIMED])
        with CONSOLE.count(len(images), "testing the C program") as tick:
            answers = _answer_all(program, images, tick)
    version = _run([compiler, "--version"]).stdout.decode(errors="replace")
    return HostAnswers(
        compiler=version.splitlines()[0],
        answers=answers.reshape(len(images), -1),
        image_ms=1000 * secs / len(images[:_TIMED]),
    )


def measure_code_bytes(folder: pathlib.Path, constant_bytes: int) -> int | None:
    """Bytes of the code on a Cortex-M4; None if its compiler is not installed."""
    if shutil.which(_ARM) is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        made = pathlib.Path(scratch) / "model.o"
        _run([_ARM, *ARM_FLAGS, "-c", folder / "model.c", "-o", made])
        sizes = _run(["arm-none-eabi-size", made]).stdout.decode()
    text, data, _ = re.findall(r"\d+", sizes.splitlines()[1])[:3]
    return int(text) + int(data) - constant_bytes


def _answer_all(program: pathlib.Path, images: np.ndarray, tick: OnBatch) -> np.ndarray:
    blocks = [images[i : i + _BLOCK] for i in range(0, len(images), _BLOCK)]
    rows = []
    with concurrent.futures.ThreadPoolExecutor(system.threads()) as pool:
        work = pool.map(lambda block: _answer(program, block)[0], blocks)
        for block, answers in zip(blocks, work, strict=True):
            rows.append(answers)
            tick(len(block))
    return np.concatenate(rows)


def _answer(program: pathlib.Path, images: np.ndarray) -> tuple[np.ndarray, float]:
    """The answers as one row of bytes, and the seconds that they took."""
    done = _run([program], np.ascontiguousarray(images).tobytes())
    return np.frombuffer(done.stdout, np.uint8), float(done.stderr)


def _run(
    words: list[str | pathlib.Path], sent: bytes = b""
) -> subprocess.CompletedProcess:
    name = pathlib.Path(words[0]).name
    try:
        done = subprocess.run(words, input=sent, capture_output=True, timeout=_SECS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrainingFailed(
            f"{name} cannot run, or takes more than {_SECS} s"
        ) from error
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        told = [line for line in told if "error" in line] or told or ["no reason"]
        raise TrainingFailed(f"{name} ended with status {done.returncode}: {told[0]}")
    return done
