"""Clients of other makers answer the test images as the exported file's manifest says.

`make test-clients` installs MediaPipe and OpenVINO in an environment of their own.
"""

import json
import subprocess

import numpy as np
import pytest

from tests.support import client_programs, export_runs
from tests.support.commands import ROOT, run_command

PYTHON = ROOT / ".venv-clients" / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="make test-clients installs MediaPipe and OpenVINO"
    ),
]
TIES = 2  # images of 360 that another order of equal classes may change
FILES = {
    "float32": ["--io=uint8"],
    "int8": ["--quantize"],
    "int8_io-float32": ["--quantize", "--io=float32"],
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The run's files, its test images, and where clients may write."""
    folder = tmp_path_factory.mktemp("clients")
    run = export_runs.copied(folder)
    for words in FILES.values():
        run_command("export.tflite", f"--run_dir={run}", *words, check=True)
    test = export_runs.opened().test
    np.save(folder / "images.npy", test.images)
    return run / "export", test, folder


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("client", ["mediapipe", "openvino"])
def test_a_client_answers_as_the_manifest_says(client, file, exported):
    folder, test, scratch = exported
    model = folder / f"model_{file}.tflite"
    target = scratch / f"{client}-{file}.npy"
    program = [str(PYTHON), client_programs.__file__, client, str(model)]
    words = [*program, str(scratch / "images.npy"), str(target)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(target).argmax(1)
    recorded = json.loads(model.with_name(model.name + ".json").read_text())["test"]
    right = int((found == test.labels).sum())
    assert abs(right - recorded["correct"]) <= TIES
