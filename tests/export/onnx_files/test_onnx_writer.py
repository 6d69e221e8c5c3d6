"""An ONNX file answers as the checkpoint, says what it is, and may be another's."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from eval import model_source
from eval.formats import onnx_metadata
from eval.formats.input_normalization import InputRange
from eval.predictors import model_files
from eval.predictors.file_options import FileOptions
from export.onnx_files import onnx_converter, onnx_packages, onnx_writer
from tests.support import export_runs
from trainer.errors import InvalidInput

LACK = [name for name in onnx_packages.PACKAGES if not importlib.util.find_spec(name)]
needs_packages = pytest.mark.skipif(bool(LACK), reason=f"{LACK} not installed")


@pytest.fixture(scope="module")
def made():
    return onnx_writer.write_onnx(export_runs.opened())


@needs_packages
def test_every_answer_is_the_checkpoint_s(made):
    test = made.manifest["test"]
    assert test["flips"] == 0 and test["images"] == 360
    assert test["largest_difference"] < 1e-5
    assert test["engine"]["name"] == "ONNX Runtime"


@needs_packages
def test_nobody_is_told_what_runs_here(made, tmp_path):
    """The official builds of ONNX Runtime report to their makers."""
    code = "import sys; from eval.predictors.runtimes import onnx_session as s; "
    code += "s.open_session(sys.argv[1], 1)"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, made.path]
    subprocess.run(command, env=os.environ | home, check=True)
    assert not list(tmp_path.rglob("*onnxruntime*"))


@needs_packages
def test_it_describes_itself(made, tmp_path):
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(made.path.read_bytes())
    props = onnx_metadata.load_metadata(alone)
    labels = made.manifest["labels"]
    assert props["labels.txt"].splitlines() == labels
    assert float(props["temperature"]) == made.manifest["temperature"]
    inside = json.loads(props["provenance.json"])
    assert inside["weights_sha256"] == made.manifest["weights_sha256"]
    source = model_source.from_file(alone)
    assert source.facts["kind"] == "onnx" and list(source.classes) == labels
    assert source.dataset == "digits" and source.open((32, 32, 3), 10).given


def foreign(path, *, first: bool, batch: int | str, dtype: int) -> None:
    """Means of three channels as logits, as another tool would write it."""
    from onnx import helper, save

    sides = [batch, 3, 8, 8] if first else [batch, 8, 8, 3]
    source = helper.make_tensor_value_info("x", dtype, sides)
    sink = helper.make_tensor_value_info("y", 1, [batch, 3])
    axes = helper.make_tensor("axes", 7, [2], [2, 3] if first else [1, 2])
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=1),
        helper.make_node("ReduceMean", ["c", "axes"], ["y"], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "g", [source], [sink], [axes])
    opset = [helper.make_opsetid("", onnx_converter.OPSET)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@needs_packages
@pytest.mark.parametrize("batch", ["N", 4])
@pytest.mark.parametrize("dtype", [1, 2])  # float, uint8
@pytest.mark.parametrize("first", [True, False])
def test_files_of_other_tools(tmp_path, first, batch, dtype):
    path = tmp_path / "other.onnx"
    foreign(path, first=first, batch=batch, dtype=dtype)
    images = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), np.uint8)
    predictor = model_files.open_file(path)
    found = predictor.model(images, lambda count: None)
    np.testing.assert_allclose(found, images.mean((1, 2)), rtol=1e-5)
    assert predictor.model.shape == (8, 8, 3) and predictor.model.classes == 3
    assert len(predictor.alternative_readings()) == (2 if dtype == 1 else 0)
    if dtype == 1:
        unit = model_files.open_file(path, FileOptions(input_range=InputRange.UNIT))
        found = unit.model(images, lambda count: None)
        np.testing.assert_allclose(found, images.mean((1, 2)) / 255, rtol=1e-5)


@needs_packages
def test_damage_is_told(tmp_path, made):
    path = tmp_path / "damaged.onnx"
    for content in (b"", b"text", made.path.read_bytes()[:5000]):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match="is damaged or no ONNX model"):
            model_files.open_file(path)


def test_a_missing_package_is_told_in_two_lines(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="pip install onnx onnxruntime") as caught:
        onnx_packages.check_installed()
    assert len(str(caught.value).splitlines()) == 2
