"""`python -OO` has no docstrings and no asserts: everything works without them."""

import ast
import subprocess
import sys

import pytest

from tests.support.commands import ROOT, TINY, result
from tests.support.image_folders import write_classes
from tests.support.sources import SOURCES

COMMANDS = ["trainer.main", "trainer.prepare", "trainer.recheck", "eval.report"]
COMMANDS += ["eval.compare", "eval.predict", "eval.data", "export.tflite"]
COMMANDS += ["export.saved_model", "export.bench", "export.micro", "export.web"]
COMMANDS += ["export.onnx"]
COMMANDS += ["launch.local", "launch.worker", "launch.slurm"]
COMMANDS += ["launch.kubernetes", "launch.vertex"]


def optimized(module, *words):
    return subprocess.run(
        [sys.executable, "-OO", "-m", module, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize("module", COMMANDS)
def test_help(module):
    done = optimized(module, "--help")
    assert done.returncode == 0, done.stderr
    assert module in done.stdout
    assert done.stdout == _plain(module)


def _plain(module):
    words = [sys.executable, "-m", module, "--help"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout


def test_nothing_reads_a_docstring_or_leans_on_an_assert():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            named = getattr(node, "attr", getattr(node, "id", None))
            assert named != "__doc__", f"{path}:{node.lineno}"
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}"


def test_wrong_usage_and_a_manifest():
    assert optimized("launch.local", "--worker=2").returncode == 2
    assert "--job-name=a" in optimized("launch.slurm", "--name=a").stdout


@pytest.mark.slow
def test_a_training_its_report_and_its_export(tmp_path):
    data, run = f"--data_dir={tmp_path / 'data'}", f"--run_dir={tmp_path / 'run'}"
    assert optimized("trainer.prepare", "--dataset=digits", data).returncode == 0
    for words in (
        ["trainer.main", *TINY, data, run],
        ["eval.report", data, run],
        ["export.tflite", data, run],
    ):
        done = optimized(*words)
        assert done.returncode == 0, done.stderr
    assert result(tmp_path / "run")["steps"] == 24
    photos = write_classes(tmp_path / "photos", {"a": 3, "b": 3})
    for words in (
        ["eval.predict", run, str(photos)],
        ["eval.data", f"--image_dir={photos}", f"--out_dir={tmp_path / 'inspection'}"],
    ):
        done = optimized(*words)
        assert done.returncode == 0, done.stderr
