"""Standalone C projects of `.tflite` files, compiled and run."""

import functools
import pathlib
import shutil
import subprocess
from collections.abc import Sequence

import numpy as np
import pytest

from export.microcontroller.standalone import c_program
from export.microcontroller.standalone.c_program import CDescription
from export.microcontroller.standalone.integer_graph import parse_graph
from export.microcontroller.standalone.program import Program, build_program

needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="gcc is not installed"
)
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")


@functools.cache
def sanitizers() -> tuple[str, ...]:
    """Flags of AddressSanitizer and UndefinedBehaviorSanitizer, if gcc has both."""
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1")
    words = ["gcc", "-x", "c", "-", *flags, "-o", "/dev/null"]
    program = b"int main(void) { return 0; }"
    done = subprocess.run(words, input=program, capture_output=True)
    return ("-g", *flags) if done.returncode == 0 else ("-O1",)


def write_project(
    folder: pathlib.Path,
    content: bytes,
    images: np.ndarray,
    answers: np.ndarray,
    labels: Sequence[str] | None = None,
) -> Program:
    """Writes the project of the file `content` with `images` as vectors."""
    program = build_program(parse_graph(content, "test"))
    names = labels or [f"class {k}" for k in range(program.classes)]
    about = CDescription("a test", names, images, answers)
    for name, text in c_program.format_project(program, about).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return program


def build_and_run(folder: pathlib.Path, *flags: str) -> subprocess.CompletedProcess:
    """Compiles every C file of `folder`, without a warning, and runs the program."""
    sources = sorted(str(path) for path in folder.glob("*.c"))
    words = ["gcc", *STRICT, *(flags or ("-O2",)), *sources, "-o", folder / "check"]
    subprocess.run(words, check=True)
    return subprocess.run([folder / "check"], capture_output=True, text=True)


def answer(folder: pathlib.Path, images: np.ndarray, *flags: str) -> np.ndarray:
    """Answers of the project in `folder`, uint8 [N, K]."""
    driver = folder / "driver" / "answer_stdin.c"
    driver.parent.mkdir(exist_ok=True)
    driver.write_text(c_program.read_template("answer_stdin.c"))
    program = driver.with_suffix("")
    words = ["gcc", *STRICT, *flags, f"-I{folder}", driver, folder / "model.c"]
    subprocess.run([*words, "-o", program], check=True)
    done = subprocess.run([program], input=images.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, np.uint8).reshape(len(images), -1)
