"""Kotlin and Swift: compiled and run on a desktop, or parsed, as far as packages go.

`make test-clients` installs a Kotlin compiler, a grammar of Swift and Java.
"""

import pathlib
import runpy
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from export.examples import lite_programs
from tests.support import program_facts
from tests.support.commands import ROOT

PYTHON = ROOT / ".venv-clients" / "bin" / "python"
JARS = list(ROOT.glob(".venv-clients/lib/*/site-packages/run_kotlin_kernel/jars/*.jar"))
COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
STAND_INS = ROOT / "tests" / "support" / "android"
PARSE = """
import sys, tree_sitter, tree_sitter_swift
parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_swift.language()))
for path in sys.argv[1:]:
    assert not parser.parse(open(path, "rb").read()).root_node.has_error, path
"""
ENDS = {
    "uint8": {"output_scale": 1 / 256, "output_zero_point": 0},
    "int8": {"output_scale": 1 / 256, "output_zero_point": -128},
    "int16": {"output_scale": 2**-15, "output_zero_point": 0, "input_scale": 1 / 32767},
    "float32": {},
}
SHAPE = (9, 14, 3)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="make test-clients installs them"),
]


def write(folder: pathlib.Path, kind: str) -> dict[str, str]:
    """The programs of a model whose ends are of `kind`, in `folder`."""
    changes = {
        "io": {"input": kind, "output": kind} | ENDS[kind],
        "image_shape": list(SHAPE),
        "preprocessing": {"resize": "letterbox"},
    }
    facts = program_facts.facts(**changes)
    folder.mkdir()
    texts = lite_programs.format_programs("model.tflite", facts)
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "model.tflite").write_bytes(b"a model")
    return texts


def java(jars: list[pathlib.Path], *words, cwd) -> str:
    path = ":".join(map(str, jars))
    done = subprocess.run(
        ["java", "-cp", path, *words], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_swift_is_parsed(tmp_path):
    for kind in ENDS:
        write(tmp_path / kind, kind)
    paths = [tmp_path / kind / "Classify.swift" for kind in ENDS]
    subprocess.run([PYTHON, "-c", PARSE, *paths], check=True)


@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")
@pytest.mark.parametrize("kind", ENDS)
def test_kotlin_gives_the_pixels_and_the_words_of_python(kind, tmp_path):
    folder = tmp_path / kind
    write(folder, kind)
    library = [jar for jar in JARS if jar.name.startswith("kotlin-stdlib")]
    words = ["-no-stdlib", "-no-reflect", "-cp", library[0], "-d", folder / "classes"]
    sources = [*STAND_INS.glob("*.kt"), folder / "Classify.kt"]
    java(JARS, COMPILER, *words, *sources, cwd=folder)
    draws, python = (
        np.random.default_rng(3),
        runpy.run_path(str(folder / "classify.py")),
    )
    for height, width in ((40, 33), (5, 30), (9, 14)):
        pixels = draws.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "a.png")
        expected = python["encode"](python["read_pixels"](folder / "a.png"))
        answer = draws.random(len(program_facts.ODD_NAMES)) ** 3
        if kind != "float32":
            scale, zero = ENDS[kind]["output_scale"], ENDS[kind]["output_zero_point"]
            answer = np.rint(answer / 2 / scale) + zero
        if kind == "uint8":
            answer = np.array([16, 48, 80] + [0] * (len(answer) - 3))  # ties of 0.05 %
        answer = answer.astype(kind)
        (folder / "output").write_bytes(answer.tobytes())
        wide = pixels.astype(np.uint32) << [16, 8, 0]
        colours = (wide.sum(axis=2) | 0xFF000000).astype(">u4")
        (folder / "colours").write_bytes(colours.tobytes())
        classes = [folder / "classes", *library]
        words = ["MainKt", folder, str(width), str(height), "colours"]
        said = java(classes, *words, cwd=folder)
        assert (folder / "input").read_bytes() == expected.tobytes()
        probabilities = (answer.astype(np.float64) - python["OUTPUT_ZERO_POINT"]) * (
            python["OUTPUT_SCALE"]
        )
        assert said == python["describe"](probabilities) + "\n"
