"""The page holds the verified file, test images and LiteRT's answers to them."""

import json
import pathlib

import numpy as np
import pytest

from eval.predictors.engine import Kernels
from export import exporting, web
from export.artifact import artifact
from export.artifact.export_options import VerificationOptions
from export.artifact.number_formats import Scheme
from export.browser import litert_js, page_writer
from export.browser.page_options import PageOptions
from export.lite import tflite_writer
from tests.support import export_runs
from trainer.errors import InvalidConfig, InvalidInput, TrainingFailed

RUNTIME = {"core.js": b"", litert_js.LOADER: b"", "NOTICE.txt": b""}
DROP = "--max_accuracy_drop=0.02"  # one of 360 images is worth 0.3 points


@pytest.fixture(scope="module")
def page() -> artifact.Artifact:
    opened = export_runs.opened(DROP)
    return page_writer.write_page(opened, PageOptions(images=50), RUNTIME)


def read_numbers(page, name: str, kind: str) -> np.ndarray:
    return np.frombuffer((page.path / name).read_bytes(), kind)


def test_it_is_a_whole_artifact(page):
    assert page.path == export_runs.run() / "export" / "web"
    assert artifact.load_artifact(page.path) == page
    names = {path.name for path in page.path.iterdir()}
    assert {"index.html", "style.css", "app.js", "model_int8.tflite"} <= names
    license_file = page.path / "litert" / "LICENSE-2.0.txt"
    assert "Apache License" in license_file.read_text()


def test_the_network_is_the_exported_file(page):
    beside = artifact.load_artifact(page.path.with_name("model_int8.tflite"))
    inside = page.path / "model_int8.tflite"
    assert inside.read_bytes() == beside.path.read_bytes()
    for key in ("test", "abstain", "abstain_rows"):
        assert page.manifest[key] == beside.manifest[key]
    assert page.manifest["io"]["input"] == "uint8"
    assert page.manifest["io"]["output"] == "uint8"
    assert page.manifest["page"]["output_step"] == 1 / 256


def test_images_and_answers_are_those_of_the_test_split(page):
    shown = export_runs.opened(DROP).verification_set
    gallery = json.loads((page.path / "gallery.json").read_text())
    rows = gallery["rows"]
    assert len(rows) == 50 == page.manifest["page"]["images"]
    assert rows[0] == 0 and rows[-1] == len(shown.labels) - 1
    assert gallery["labels"] == shown.labels[rows].tolist()
    images = read_numbers(page, "images.bin", "u1").reshape(50, *shown.images.shape[1:])
    assert (images == shown.images[rows]).all()
    path = page.path / "model_int8.tflite"
    predictor = tflite_writer.open_predictor(path, Kernels.XNNPACK)
    answers = read_numbers(page, "answers.bin", "<f4").reshape(50, -1)
    assert (answers == predictor(images)).all()


def test_a_page_replaces_the_older_one(page):
    (page.path / "extra").touch()
    opened = export_runs.opened(DROP)
    again = page_writer.write_page(opened, PageOptions(images=50), RUNTIME)
    assert not (page.path / "extra").exists()
    assert again.manifest["files"] == page.manifest["files"]


def test_floats_run_in_browsers_too(page):
    options = PageOptions(Scheme.FLOAT16, 5)
    made = page_writer.write_page(export_runs.opened(DROP), options, RUNTIME)
    assert made.manifest["page"]["output_step"] == 0
    assert made.manifest["page"]["model"] == "model_float16.tflite"


def test_a_missed_gate_keeps_the_page_that_is_there(page):
    opened = export_runs.opened("--max_accuracy_drop=0.02")
    before = sorted(page.path.rglob("*"))
    made = artifact.load_artifact(opened.folder / "model_int8.tflite")
    test = made.manifest["test"] | {"agreement_interval": [0.1, 0.2], "agreement": 0.1}
    path = made.path.with_name("model_int8.tflite.json")
    kept = path.read_bytes()
    path.write_text(json.dumps(dict(made.manifest) | {"test": test}))
    with pytest.raises(TrainingFailed, match="of answers are the checkpoint's"):
        page_writer.write_page(opened, PageOptions(), RUNTIME)
    path.write_bytes(kept)
    assert sorted(page.path.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_refused_first(tmp_path):
    run = export_runs.copied(tmp_path)
    (run / "export").write_text("a file")
    with pytest.raises(InvalidInput, match="the export cannot be written"):
        exporting.export_web(run, scheme="int8")
    assert (run / "export").read_text() == "a file"


def test_without_npm_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    run = export_runs.copied(tmp_path)
    with pytest.raises(InvalidInput, match="npm is not installed"):
        web.main(export_runs.parsed(web.define, f"--run_dir={run}"))
    assert not (run / "export").exists()


def test_a_script_gets_the_page_of_the_command(page, tmp_path, monkeypatch):
    monkeypatch.setattr(litert_js, "load_runtime", lambda: RUNTIME)
    run = export_runs.copied(tmp_path)
    limits = VerificationOptions(max_accuracy_drop=0.02)
    made = exporting.export_web(run, images=50, verification=limits)
    assert made.manifest["files"] == page.manifest["files"]
    with pytest.raises(InvalidConfig, match="scheme=int16x8 does not run in a browser"):
        exporting.export_web(run, scheme="int16x8")


def test_the_number_of_images_follows_from_their_size():
    options = PageOptions()
    assert options.count_images(10_000, 32 * 32 * 3) == 200
    assert options.count_images(10_000, 96 * 96 * 3) == 54
    assert options.count_images(10_000, 224 * 224 * 3) == 12
    assert options.count_images(7, 64) == 7
    assert PageOptions(images=1000).count_images(300, 64) == 300


def test_static_files_ask_no_other_host():
    for path in pathlib.Path(page_writer.__file__).parent.glob("static/*"):
        text = path.read_text()
        if path.suffix in (".js", ".css", ".html"):
            assert "//" not in text.replace("// ", ""), path
            assert "style=" not in text and "onclick" not in text, path
