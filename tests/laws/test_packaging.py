"""`pip install .` gives commands that work in any folder, without the source."""

import ast
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile

import pytest

from tests.support.commands import ROOT
from tests.support.sources import ALLOWED, COMMANDS, MODULES, SOURCES

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FILES = ["pyproject.toml", "requirements.txt", "requirements-dev.txt", "README.md"]
FILES += ["LICENSE", "MANIFEST.in"]
SHORT = {"trainer.main": ["--epochs=8"]}  # of its commands, by module
BUILD = "from setuptools import build_meta; print(build_meta.build_sdist({!r}))"


def run(*words, cwd, **variables) -> str:
    """What a command prints; without our sources on its path."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        words,
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """Built from the source archive, so that the archive has all that it takes."""
    made = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source")
    for name in (*ALLOWED, "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-c", BUILD.format(str(made)), cwd=source)
    (archive,) = made.glob("*.tar.gz")
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as content:
        content.extractall(unpacked, filter="data")
    (folder,) = unpacked.iterdir()
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    run(sys.executable, "-m", "pip", *words, str(made), ".", cwd=folder)
    (found,) = made.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> pathlib.Path:
    """The folder of the commands, in an environment that has our dependencies."""
    path = tmp_path_factory.mktemp("environment") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(path), cwd=path.parent)
    (packages,) = path.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(path / "bin" / "python")]
    run(*pip, "install", "--quiet", "--no-deps", str(wheel), cwd=path.parent)
    return path / "bin"


@pytest.mark.slow
def test_the_wheel_has_every_module_and_other_file_and_no_more(wheel):
    expected = {str(path.relative_to(ROOT)) for path in SOURCES}
    for package in ALLOWED:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                expected.add(str(path.relative_to(ROOT)))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith("/LICENSE") for name in names)


@pytest.mark.slow
def test_every_installed_command_shows_its_help(installed, tmp_path):
    for name, target in PROJECT["scripts"].items():
        module = target.partition(":")[0]
        assert module in run(str(installed / name), "--help", cwd=tmp_path)
    python = str(installed / "python")
    assert "launch.local" in run(python, "-m", "launch.local", "--help", cwd=tmp_path)
    where = "import trainer.main; print(trainer.main.__file__)"
    assert str(ROOT) not in run(python, "-c", where, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_installed_command_finds_its_template(installed, tmp_path):
    script = run(str(installed / "trainer-slurm"), "--name=a", cwd=tmp_path)
    assert script.startswith("#!/bin/bash\n#SBATCH --job-name=a\n")


def test_every_command_of_the_packages_is_installed():
    targets = {target.partition(":")[0] for target in PROJECT["scripts"].values()}
    assert targets == set(COMMANDS)
    for target in PROJECT["scripts"].values():
        module, _, function = target.partition(":")
        body = ast.parse(MODULES[module].read_text()).body
        assert function in {getattr(node, "name", None) for node in body}, target


def test_pins_stand_once():
    """The extras of pyproject.toml and the requirements name the same versions."""
    pins = (ROOT / "requirements.txt").read_text()
    for requirements in PROJECT["optional-dependencies"].values():
        assert all(requirement in pins for requirement in requirements)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    dev = (ROOT / "requirements-dev.txt").read_text()
    assert all(requirement in dev for requirement in wanted["requires"])


@pytest.mark.slow
def test_a_network_of_the_readme_ends_as_a_verified_int8_file(installed, tmp_path):
    """From its ten lines, in an empty folder, with the wheel alone."""
    section = (ROOT / "README.md").read_text().split("### Your own network")[1]
    code, commands = re.findall(r"```\w+\n(.*?)```", section, re.DOTALL)[:2]
    (tmp_path / "my_net.py").write_text(code)
    python = str(installed / "python")
    for line in commands.splitlines():
        words = shlex.split(line, comments=True)
        assert words[:2] == ["python", "-m"]
        said = run(python, *words[1:], *SHORT.get(words[2], []), cwd=tmp_path)
    (made,) = tmp_path.glob("runs/*-my_net-network-digits/export/model_int8.tflite")
    manifest = json.loads(pathlib.Path(f"{made}.json").read_text())
    assert manifest["test"]["images"] == 360, said
    assert len(code.strip().splitlines()) <= 12  # ten, without empty ones


EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        print(output.get("text", ""))
"""


@pytest.mark.slow
def test_the_notebook_and_the_script_run_from_the_wheel_in_an_empty_folder(
    installed, tmp_path
):
    python, examples = str(installed / "python"), ROOT / "examples"
    (tmp_path / "script").mkdir()
    script = run(python, str(examples / "quickstart.py"), cwd=tmp_path / "script")
    (tmp_path / "notebook").mkdir()
    path = str(examples / "quickstart.ipynb")
    notebook = run(python, "-c", EXECUTE, path, cwd=tmp_path / "notebook")
    accuracy = next(line for line in script.splitlines() if "% of 397 (" in line)
    assert accuracy in notebook
    hashes = [
        json.loads((path / "result.json").read_text())["weights_sha256"]
        for path in tmp_path.glob("*/runs/quickstart")
    ]
    assert len(hashes) == 2 and len(set(hashes)) == 1
