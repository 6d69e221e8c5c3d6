"""A run that was trained without a test is judged by the rows that it held out."""

import json
import shutil

import numpy as np
import pytest

from eval.formats import manifest as manifests
from eval.metrics import leakage
from eval.splits import evaluation_rows
from export.artifact.number_formats import Io, Scheme
from export.lite import tflite_writer
from export.lite.tflite_options import TFLiteOptions
from tests.support import eval_models, export_runs, sealed_studies
from trainer.data import sampler
from trainer.data.sources import tfds_source
from trainer.rundir import test_openings


@pytest.fixture(scope="module")
def closed(data_dir, tmp_path_factory):
    return sealed_studies.close_test(data_dir, tmp_path_factory.mktemp("closed"))


@pytest.fixture
def trial(template, closed, tmp_path):
    """A run in a study; its data has a test split that cannot be opened."""
    study = sealed_studies.begin(tmp_path / "study")
    path = shutil.copytree(template, study / "trials" / "0")
    return sealed_studies.seal(path, closed)


@pytest.fixture
def command(monkeypatch, capfd):
    def call(*words, **options):
        return eval_models.command(monkeypatch, capfd, *words, **options)

    return call


def test_a_report_is_of_the_validation_rows_and_says_so(command, trial, data_dir):
    ended = command("report", f"--run_dir={trial}")
    assert ended.code == 0, ended.err
    report = json.loads((trial / "report" / "report.json").read_text())
    train = tfds_source.load_split(tfds_source.locate("digits", str(data_dir)), "train")
    _, rows = sampler.validation_split(train.labels, 0.1, None)
    packed = np.load(trial / "report" / "predictions.npz")
    assert packed["ids"].tolist() == [train.ids[row] for row in rows]
    assert report["data"]["kind"] == report["data"]["split"] == "validation"
    assert report["data"]["same_as_trained"] is None
    assert "142 validation images, not of the test split" in ended.out
    assert any("validation rows" in line for line in ended.err)
    page = (trial / "report" / "report.html").read_text()
    assert "split decided nothing" not in page
    assert "rows that the training held out" in page
    assert not (trial.parents[1] / test_openings.FILE).exists()


def test_the_test_split_is_opened_by_name_and_recorded(command, trial, data_dir):
    words = ("report", f"--run_dir={trial}", "--split=test", f"--data_dir={data_dir}")
    first, second = command(*words), command(*words)
    assert first.code == second.code == 0
    assert any("for the first time" in line for line in first.err)
    assert any("opening 2 of the test split" in line for line in second.err)
    assert len(test_openings.load(trial.parents[1])) == 2
    report = json.loads((trial / "report" / "report.json").read_text())
    assert report["data"]["kind"] == "test"
    assert report["scores"]["images"] == 360


def test_a_comparison_is_of_rows_that_all_held_out(command, trial, run, tmp_path):
    out = tmp_path / "out"
    ended = command("compare", str(trial), str(run), f"--out_dir={out}")
    assert ended.code == 0, ended.err
    found = json.loads((out / "comparison.json").read_text())
    assert (found["data"]["kind"], found["data"]["images"]) == ("validation", 142)


@pytest.mark.slow
def test_a_tested_run_may_be_judged_by_its_validation_rows(command, run):
    assert command("report", f"--run_dir={run}", "--split=validation").code == 0
    report = json.loads((run / "report" / "report.json").read_text())
    assert report["scores"]["images"] == 142


@pytest.mark.parametrize("which", ["no rows", "other data"])
def test_without_rows_the_remedy_is_named(command, trial, which):
    path = trial / "config.json"
    recorded = json.loads(path.read_text())
    if which == "no rows":
        recorded["config"]["data"]["validation_fraction"] = 0.0
    else:
        recorded["data"]["sha256"]["train"] = "00"
    path.write_text(json.dumps(recorded))
    ended = command("report", f"--run_dir={trial}")
    assert ended.code == 2
    assert len(ended.err) == 2
    assert "--split=test" in ended.err[1]


def test_an_export_is_verified_on_them_and_its_manifest_says_so(command, tmp_path):
    run = sealed_studies.seal(shutil.copytree(export_runs.run(), tmp_path / "run"))
    opened = export_runs.open_inputs(f"--run_dir={run}")
    assert opened.test is None
    made = tflite_writer.write_tflite(opened, TFLiteOptions(Scheme.FLOAT32, Io.UINT8))
    manifest = made.manifest
    assert manifest["run_tested"] is False
    assert not {"test", "test_data", "test_split", "test_sha256"} & manifest.keys()
    assert manifest["validation"]["split"] == "validation"
    assert manifests.verification(manifest)["flips"] == 0
    assert "validation images" in made.summary()
    ended = command("report", f"--model={made.path}")
    assert ended.code == 0, ended.err
    assert "validation images, not of the test split" in ended.out


def test_leakage_is_looked_for_between_splits(data_dir):
    builder = tfds_source.locate("digits", str(data_dir))
    test = tfds_source.load_split(builder, "test")
    assert leakage.find_test_images(test, test).all()
    assert evaluation_rows.describe(test, "x") is None
