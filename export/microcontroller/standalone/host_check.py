"""Compiles the C program where there is a compiler, and runs it on test images."""

import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

import numpy as np

from export.microcontroller.standalone import c_program
from trainer import files, system
from trainer.errors import TrainingFailed
from trainer.monitoring.progress import CONSOLE, OnBatch

_FLAGS = ("-std=c99", "-O3")
_ARM = "arm-none-eabi-gcc"
ARM_FLAGS = ("-std=c99", "-O2", "-funroll-loops", "-mcpu=cortex-m4", "-mthumb")
_BLOCK = 256  # images that a process is given
_ROUNDS, _TIMED = 20, 5  # rounds of the measurement, and images of each
_SECS = 600  # of a compiler, or of a block of images


@dataclasses.dataclass(frozen=True)
class HostAnswers:
    """What the compiled program answered.

    Attributes:
        compiler: its first line on its version.
        answers: uint8 [N, K].
        round_ms: milliseconds of an image on one core, the mean of each of some rounds.
    """

    compiler: str
    answers: np.ndarray
    round_ms: tuple[float, ...]

    @property
    def image_ms(self) -> float:
        """Milliseconds of an image in the median round."""
        return float(np.median(self.round_ms))


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
            _compile([*words, "-o", program])
        timed = images[:_TIMED]
        seconds = [_answer(program, timed)[1] for _ in range(_ROUNDS)]
        with CONSOLE.count(len(images), "testing the C program") as tick:
            answers = _answer_all(program, images, tick)
    version = run_tool([compiler, "--version"]).stdout.decode(errors="replace")
    return HostAnswers(
        compiler=version.splitlines()[0],
        answers=answers.reshape(len(images), -1),
        round_ms=tuple(1000 * each / len(timed) for each in seconds),
    )


def _compile(words: Sequence[str | pathlib.Path]) -> None:
    try:
        run_tool(words)
    except TrainingFailed as error:
        told = f"{error};\nname another C compiler with the variable CC"
        raise TrainingFailed(told) from error


def measure_code_bytes(folder: pathlib.Path, constant_bytes: int) -> int | None:
    """Bytes of the code on a Cortex-M4; None if its compiler is not installed."""
    if shutil.which(_ARM) is None:
        return None
    with (
        CONSOLE.phase("compiling for a Cortex-M4"),
        tempfile.TemporaryDirectory() as scratch,
    ):
        made = pathlib.Path(scratch) / "model.o"
        run_tool([_ARM, *ARM_FLAGS, "-c", folder / "model.c", "-o", made])
        sizes = run_tool(["arm-none-eabi-size", made]).stdout.decode()
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
    done = run_tool([program], np.ascontiguousarray(images).tobytes())
    return np.frombuffer(done.stdout, np.uint8), float(done.stderr)


def run_tool(
    words: Sequence[str | pathlib.Path], sent: bytes = b""
) -> subprocess.CompletedProcess:
    """Runs a compiler, or a program that it made, and returns what it has written.

    Raises:
        TrainingFailed: it cannot run, fails, or takes too long.
    """
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
