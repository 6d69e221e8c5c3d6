"""`python -OO` has no docstrings and no asserts: everything works without them."""

import ast
import subprocess
import sys

import pytest

from tests.support.commands import ROOT, TINY, result
from tests.support.image_folders import write_classes
from tests.support.sources import COMMANDS, SOURCES


def optimized(module, *words):
    return subprocess.run(
        [sys.executable, "-OO", "-m", module, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


HELP = """
import os, runpy, sys
from trainer.cli import command  # once for all who have it
folder, *modules = sys.argv[1:]
for module in modules:
    if os.fork() == 0:
        os.dup2(os.open(os.path.join(folder, module), os.O_CREAT | os.O_WRONLY), 1)
        sys.argv = [module, "--help"]
        sys.exit(runpy.run_module(module, run_name="__main__", alter_sys=True))
    if code := os.wait()[1]:
        sys.exit(f"{module}: {code}")
"""


@pytest.fixture(scope="module")
def helps(tmp_path_factory):
    """What each command prints for --help, plain and with -OO."""
    folders = []
    for flags in ([], ["-OO"]):
        folders.append(tmp_path_factory.mktemp("help"))
        words = [sys.executable, *flags, "-c", HELP, str(folders[-1]), *COMMANDS]
        subprocess.run(words, cwd=ROOT, check=True, timeout=240)
    return [{name: (x / name).read_text() for name in COMMANDS} for x in folders]


@pytest.mark.parametrize("module", COMMANDS)
def test_help(helps, module):
    plain, optimized = (texts[module] for texts in helps)
    assert module in optimized
    assert optimized == plain


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
