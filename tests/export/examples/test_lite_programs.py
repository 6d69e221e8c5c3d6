"""Programs beside a `.tflite` answer as the file does, byte for byte, and say so."""

import importlib.metadata
import io
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from eval.prediction import record_writers
from eval.prediction.image_classifier import FilePrediction
from eval.predictors.engine import Kernels
from export.artifact import artifact
from export.artifact.number_formats import Io, Scheme
from export.examples import next_step, program_folder
from export.lite import tflite_writer
from export.lite.tflite_options import TFLiteOptions
from tests.support import export_runs
from trainer.errors import InvalidInput

FILES = {"int8": (Scheme.INT8, Io.UINT8), "float32": (Scheme.FLOAT32, Io.FLOAT32)}
# Runs a program where nothing but its three packages, and what they need, is there.
ALONE = """
import importlib.abc, runpy, sys
allowed, sys.argv = set(sys.argv[1].split(",")), sys.argv[2:]
class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        root = name.split(".")[0]
        if root not in allowed and root not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"{name} is not installed")
sys.meta_path.insert(0, Guard())
sys.path[:] = [p for p in sys.path if p]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# The modules that `pip install ai-edge-litert numpy pillow` brings.
INSTALLED = "ai_edge_litert,numpy,PIL,backports,flatbuffers,google,ml_dtypes,tqdm"
INSTALLED += ",typing_extensions"
needs_gxx = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is missing")


@pytest.fixture(scope="module")
def made() -> dict[str, artifact.Artifact]:
    opened = export_runs.opened("--max_accuracy_drop=0.02")
    return {
        name: tflite_writer.write_tflite(opened, TFLiteOptions(*formats))
        for name, formats in FILES.items()
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Some test images as PNG and PPM files of another size."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, pixels in enumerate(export_runs.opened().test.images[:6]):
        enlarged = Image.fromarray(pixels).resize((50 + number, 41))
        for suffix in ("png", "ppm"):
            enlarged.save(folder / f"{number}.{suffix}")
    return sorted(folder.glob("*.png"))


def folder_of(one: artifact.Artifact):
    return program_folder.beside(one.path)


def run_alone(one: artifact.Artifact, *words) -> subprocess.CompletedProcess:
    """classify.py where only its packages can be imported."""
    words = [
        sys.executable,
        "-I",
        "-c",
        ALONE,
        INSTALLED,
        folder_of(one) / words[0],
        *words[1:],
    ]
    return subprocess.run(words, capture_output=True, text=True)


def in_words(path, probabilities: np.ndarray, threshold: float) -> list[str]:
    """What eval.predict says of a picture, word by word."""
    out, names = io.StringIO(), export_runs.opened().test.names
    one = FilePrediction(str(path), None, None, probabilities)
    record_writers.TableWriter(out, 3, threshold).write([one], names)
    return out.getvalue().splitlines()[1].split()


@pytest.mark.parametrize("name", FILES)
def test_python_answers_the_test_split_byte_for_byte(made, name):
    shown, one = export_runs.opened().verification_set, made[name]
    program = runpy.run_path(str(folder_of(one) / "classify.py"))
    model = program["open_model"](one.path)
    found = [program["classify"](model, pixels[None]) for pixels in shown.images]
    predictor = tflite_writer.open_predictor(one.path, Kernels.XNNPACK)
    np.testing.assert_array_equal(found, predictor.model(shown.images, lambda _: None))
    right = int((np.argmax(found, axis=1) == shown.labels).sum())
    assert right == one.manifest["test"]["correct"]


@pytest.mark.parametrize("name", FILES)
def test_python_needs_three_packages_and_speaks_as_predict(made, name, pictures):
    one = made[name]
    done = run_alone(one, "classify.py", *pictures)
    assert done.returncode == 0, done.stderr
    program = runpy.run_path(str(folder_of(one) / "classify.py"))
    model = program["open_model"](one.path)
    for path, line in zip(pictures, done.stdout.splitlines(), strict=True):
        probabilities = program["classify"](model, program["read_pixels"](path))
        words = in_words(path, probabilities, program["THRESHOLD"])
        assert line.split() == words


@needs_gxx
@pytest.mark.parametrize("name", FILES)
def test_cpp_answers_as_python_does(made, name, pictures, tmp_path):
    one = made[name]
    library = importlib.metadata.distribution("ai-edge-litert").locate_file(
        "ai_edge_litert/libLiteRt.so"
    )
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O1"]
    words = ["g++", *strict, folder_of(one) / "classify.cc", library]
    run_path = f"-Wl,-rpath,{library.parent}"
    subprocess.run([*words, run_path, "-o", tmp_path / "classify"], check=True)
    names = [path.with_suffix(".ppm") for path in pictures]
    python = subprocess.run(
        [sys.executable, folder_of(one) / "classify.py", *names],
        capture_output=True,
        text=True,
    )
    done = subprocess.run(
        [tmp_path / "classify", *names],
        cwd=folder_of(one),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == python.stdout and done.stdout


def test_an_answer_below_the_threshold_is_not_given(made, pictures, tmp_path):
    source = (folder_of(made["int8"]) / "classify.py").read_text()
    sure = re.sub(r"^THRESHOLD = \S+", "THRESHOLD = 1.1", source, flags=re.MULTILINE)
    (tmp_path / "classify.py").write_text(sure)
    shutil.copy(made["int8"].path, tmp_path)
    words = [sys.executable, tmp_path / "classify.py", pictures[0]]
    line = subprocess.run(words, capture_output=True, text=True).stdout
    program = runpy.run_path(str(tmp_path / "classify.py"))
    model = program["open_model"](tmp_path / made["int8"].path.name)
    probabilities = program["classify"](model, program["read_pixels"](pictures[0]))
    assert line.split() == in_words(pictures[0], probabilities, 1.1)
    assert line.startswith(f"{pictures[0]}  unknown ") and "  perhaps " in line


def test_a_file_that_is_no_picture_is_one_line_and_the_others_are_answered(
    made, pictures, tmp_path
):
    (tmp_path / "text.png").write_text("no picture")
    words = ["classify.py", tmp_path / "none.png", tmp_path / "text.png", pictures[0]]
    done = run_alone(made["int8"], *words)
    told = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert done.returncode == 1 and len(told) == 2
    assert done.stdout.startswith(str(pictures[0]))
    assert run_alone(made["int8"], "classify.py").returncode == 2


def test_the_programs_are_in_the_manifest_and_named_as_the_next_step(made):
    for one in made.values():
        noted = one.manifest["examples"]
        names = {path.name for path in folder_of(one).iterdir()}
        assert noted.keys() == names
        assert artifact.load_artifact(one.path).manifest == one.manifest
        command = next_step.describe(one).removeprefix("next: ")
        assert shlex.split(command)[1] == str(folder_of(one) / "classify.py")
    inside = json.loads(made["int8"].path.with_suffix(".tflite.json").read_text())
    assert inside["io"]["output_scale"] == 1 / 256


def test_a_folder_that_cannot_be_replaced_is_refused_before_the_work(tmp_path):
    path = tmp_path / "model_int8.tflite"
    program_folder.check_replaceable(path)
    program_folder.beside(path).write_text("somebody's file")
    with pytest.raises(InvalidInput, match="is a link or no folder.*move it away"):
        program_folder.check_replaceable(path)
    program_folder.beside(path).unlink()
    program_folder.beside(path).symlink_to(tmp_path)
    with pytest.raises(InvalidInput, match="is a link or no folder"):
        program_folder.check_replaceable(path)
