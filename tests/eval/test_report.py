"""A report says what was measured, is whole, and asks no network for anything."""

import dataclasses
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert

from eval.formats import atomic_folders
from eval.metrics import calibration, classification
from eval.metrics.validation_rows import ValidationAnswers
from tests.support import eval_models
from tests.support.commands import run_command
from trainer.data.sources import tfds_source
from trainer.models import evaluator

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def test_split(data_dir):
    return tfds_source.load_split(tfds_source.locate("digits", str(data_dir)), "test")


@pytest.fixture
def command(monkeypatch, capfd):
    def call(*words, **options):
        return eval_models.command(monkeypatch, capfd, "report", *words, **options)

    return call


def read(run: pathlib.Path):
    folder = run / "report"
    packed = np.load(folder / "predictions.npz")
    page = (folder / "report.html").read_text()
    return json.loads((folder / "report.json").read_text()), packed, page


def test_the_report_of_a_run_is_whole(command, run, test_split):
    ended = command(f"--run_dir={run}")
    assert ended.code == 0
    report, packed, page = read(run)
    check_page(page)
    assert report["version"] == 1
    assert report["scores"]["images"] == 360
    assert report["data"]["sha256"] == test_split.sha256
    assert report["data"]["same_as_trained"] is True
    assert packed["ids"].tolist() == list(test_split.ids)
    np.testing.assert_array_equal(packed["labels"], test_split.labels)
    again = classification.accuracy(packed["probabilities"], packed["labels"])
    assert again == report["scores"]["accuracy"]
    assert f"{report['scores']['accuracy']:.2%}" in ended.out
    for word in ("test split decided nothing", "The training recorded 50.00%"):
        assert word in page
    kinds = {p.stem for p in (run / "report" / "figures").glob("*.svg")}
    assert kinds == {"reliability", "coverage", "abstention", "loss", "accuracy"}


def check_abstention(run: pathlib.Path, labels: np.ndarray) -> None:
    """What the report of a run says is refused."""
    report, packed, page = read(run)
    told = report["abstention"]
    assert told["why"] is None and told["rows"] == 142
    temperature = report["calibration"]["temperature"] or 1.0
    answers = calibration.apply_temperature(packed["probabilities"], temperature)
    right = answers.argmax(1) == labels
    for row in told["targets"]:
        if (least := row["threshold"]) is None:
            assert row["test"] is None and row["guarantee"] in page
            continue
        given = answers.max(1) >= least
        assert row["test"]["answered"] == given.sum()
        assert row["refused_wrong"] == (~given & ~right).sum()
        assert row["refused_right"] == (~given & right).sum()
    first, *_, last = told["curve"]
    assert first["coverage"] == 1 and first["selective_accuracy"] == right.mean()
    assert last["coverage"] <= first["coverage"]
    names = [each["name"] for each in told["no_class"]]
    assert names == ["scrambled", "photographs", "colours", "noise"]
    for each in told["no_class"]:
        assert each["images"] == 256 and len(each["examples"]) == 4
        assert each["what"] in page
    assert "I don&#39;t know" in page or "I don't know" in page


def check_page(page: str) -> None:
    """No network is asked for anything, and every chart is there."""
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", page)
    assert page.count("<script") == 1 and "<script>" in page
    assert "default-src 'none'; img-src data:;" in page
    assert "@import" not in page
    assert page.count("<svg ") == 5


def test_the_temperature_is_fitted_once_and_then_read(command, data_dir, tmp_path):
    run = eval_models.make_run(tmp_path / "taught", data_dir, taught=True).path
    command(f"--run_dir={run}")
    before = eval_models.tree(run / "report")
    path = run / calibration.FILE
    noted = json.loads(path.read_text())
    assert noted["rows"] == 142
    assert noted["nll"]["after"] < noted["nll"]["before"]
    path.write_text(json.dumps(noted | {"temperature": 2.0}))
    command(f"--run_dir={run}")
    check_abstention(run, read(run)[1]["labels"])
    report, packed, _ = read(run)
    softer = calibration.apply_temperature(packed["probabilities"], 2.0)
    assert report["calibration"]["temperature"] == 2.0
    assert report["calibrated"]["nll"] == classification.nll(softer, packed["labels"])
    assert json.loads(path.read_text())["temperature"] == 2.0
    after = eval_models.tree(run / "report")
    assert before.keys() == after.keys()
    assert before["predictions.npz"] == after["predictions.npz"]


def test_a_temperature_that_the_rows_do_not_tell_is_none_everywhere(command, run):
    """The network is random: no temperature makes it know what it says."""
    for _ in range(2):  # fitted, then read
        assert "uncalibrated" in command(f"--run_dir={run}").out
        report, _, page = read(run)
        noted = json.loads((run / calibration.FILE).read_text())
        assert noted["state"] == report["calibration"]["state"] == "uncalibrated"
        assert noted["temperature"] is report["calibrated"] is None
        assert noted["nll"]["after"] == noted["nll"]["before"]
        assert noted["why"] == report["calibration"]["why"]
        assert noted["why"].startswith("Uncalibrated: ") and noted["why"] in page


def test_a_temperature_of_the_first_version_is_fitted_again(command, run):
    path = run / calibration.FILE
    path.write_text('{"version": 1, "temperature": 0.05, "rows": 30}')
    assert command(f"--run_dir={run}").code == 0
    assert json.loads(path.read_text())["temperature"] is None


def test_no_temperature_is_fitted_on_test_images(data_dir, tmp_path):
    """A run whose training split was mixed with its test split."""
    run = eval_models.make_run(tmp_path / "mixed", data_dir, taught=True)
    builder = tfds_source.locate("digits", str(data_dir))
    train, test = (tfds_source.load_split(builder, name) for name in ("train", "test"))
    judge = dataclasses.replace(test, images=train.images[:360])
    answers = ValidationAnswers(run, None, lambda: train, judge)
    found = calibration.from_run(answers, run.result()["weights_sha256"])
    assert found.state is calibration.State.UNCALIBRATED
    assert (
        found.why == "Uncalibrated: 360 of the 1,437 training images are test images."
    )
    assert not (run.path / calibration.FILE).exists()


def test_without_validation_rows_everything_says_uncalibrated(
    command, data_dir, tmp_path
):
    run = eval_models.make_run(tmp_path / "none", data_dir, held=0.0).path
    assert command(f"--run_dir={run}").code == 0
    report, _, page = read(run)
    assert report["calibration"]["state"] == "uncalibrated"
    assert report["calibrated"] is None
    assert "Uncalibrated: the run has no validation rows." in page
    assert not (run / calibration.FILE).exists()


def test_an_unfinished_run_needs_a_step_and_stays_uncalibrated(command, run):
    (run / "result.json").unlink()
    assert command(f"--run_dir={run}").code == 2
    assert command(f"--run_dir={run}", f"--checkpoint={eval_models.STEP}").code == 0
    report, _, _ = read(run)
    assert report["calibration"]["state"] == "uncalibrated"
    assert report["model"]["step"] == eval_models.STEP


def paths(value, prefix=""):
    """Names of all fields of a JSON value, [] for list items."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from paths(item, f"{prefix}.{name}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from paths(item, f"{prefix}[]")
    else:
        yield prefix


def check_documented(report):
    """Every field of report.json stands in docs/report_schema.md."""
    text = (ROOT / "docs" / "report_schema.md").read_text()
    free = (
        "run.",
        "environment.",
        "robustness.types.",
        "scores.top_k.",
        "scores.top_k_interval.",
    )
    names = {
        path.split(".")[-1].rstrip("[]")
        for path in paths(report)
        if not path.startswith(free)
    }
    assert not {name for name in names if f"`{name}`" not in text}


def test_corruptions_make_a_table_of_fifteen(command, run, monkeypatch):
    monkeypatch.setattr(evaluator, "BATCH", 8)  # 75 batches of four images, padded
    words = ("--corruptions", "--corruption_sample=4")
    assert command(f"--run_dir={run}", *words).code == 0
    report, _, page = read(run)
    found = report["robustness"]
    assert len(found["types"]) == 15
    assert found["images"] == 4
    every = [row["nll"] for rows in found["types"].values() for row in rows]
    assert found["mean"]["nll"] == pytest.approx(np.mean(every))
    assert "Hendrycks &amp; Dietterich" in page
    check_documented(report)


def test_a_tflite_is_scored_as_a_bare_interpreter(
    command, data_dir, test_split, tmp_path
):
    path = eval_models.tflite(tmp_path / "foreign.tflite")
    words = (f"--model={path}", "--dataset=digits", f"--data_dir={data_dir}")
    assert command(*words).code == 0
    out = tmp_path / "foreign.tflite.report"
    packed = np.load(out / "predictions.npz")
    own = litert.Interpreter(str(path))
    own.allocate_tensors()
    (source,), (sink,) = own.get_input_details(), own.get_output_details()
    rows = []
    for image in test_split.images:
        own.set_tensor(source["index"], image[None].astype(np.float32))
        own.invoke()
        rows.append(own.get_tensor(sink["index"])[0])
    bare = eval_models.softmax(np.float64(rows))
    np.testing.assert_allclose(packed["probabilities"], bare, atol=1e-12)
    np.testing.assert_array_equal(packed["probabilities"].argmax(1), bare.argmax(1))
    report = json.loads((out / "report.json").read_text())
    assert report["model"]["output"] == "logits"
    assert report["model"]["bytes"] == path.stat().st_size
    assert report["model"]["latency_ms"] > 0
    assert report["run"] is None


def test_a_manifest_says_what_the_file_was_made_from(command, data_dir, tmp_path):
    path = eval_models.saved_model(tmp_path / "1", answer=tf.nn.softmax)
    manifest = {
        "temperature": 1.5,
        "config": {"data": {"dataset": "digits"}},
        "data_sha256": {"train": "aa", "test": "bb"},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    out = tmp_path / "out"
    words = (f"--model={path}", f"--data_dir={data_dir}", f"--out_dir={out}")
    assert command(*words).code == 0
    report = json.loads((out / "report.json").read_text())
    assert report["model"]["output"] == "probabilities"
    assert report["calibration"]["state"] == "calibrated inside the model"
    assert report["data"]["same_as_trained"] is False
    assert "not the test split that belongs" in (out / "report.html").read_text()


def test_files_of_other_programs_around_a_model_are_no_run(command, data_dir, tmp_path):
    (tmp_path / "m").mkdir()
    path = eval_models.tflite(tmp_path / "m" / "net.tflite")
    words = (f"--model={path}", "--dataset=digits", f"--data_dir={data_dir}")
    for content in ("[1, 2]", "// no JSON", '{"config": "prod", "run": 1, "data": []}'):
        (tmp_path / "config.json").write_text(content)
        assert command(*words).code == 0
    (tmp_path / "m" / "net.tflite.json").write_text('{"config": 3, "labels": 5}')
    assert command(*words).code == 0


def test_the_report_of_a_served_version_is_beside_the_versions(
    command, data_dir, tmp_path
):
    path = eval_models.saved_model(tmp_path / "served" / "1", answer=tf.nn.softmax)
    words = (f"--model={path}", "--dataset=digits", f"--data_dir={data_dir}")
    assert command(*words).code == 0
    assert (tmp_path / "served_1.report" / "report.json").exists()
    assert [p.name for p in path.parent.iterdir()] == ["1"]


def test_other_labels_than_the_manifests_are_refused(command, data_dir, tmp_path):
    path = eval_models.tflite(tmp_path / "pets.tflite")
    pets = ["cat", "dog", *map(str, range(2, 10))]
    (tmp_path / "pets.tflite.json").write_text(json.dumps({"labels": pets}))
    words = (f"--model={path}", "--dataset=digits", f"--data_dir={data_dir}")
    ended = command(*words)
    assert ended.code == 2
    assert "has the classes cat, dog" in ended.err[0]
    assert not (tmp_path / "pets.tflite.report").exists()


@pytest.mark.parametrize("sampled", [True, False])
def test_a_file_verified_on_a_sample_is_not_said_to_be_on_all(command, run, sampled):
    tested = {
        "images": 20 if sampled else 360,
        "split_images": 360,
        "sampled": sampled,
        "accuracy": 1.0,
        "accuracy_interval": [0.84, 1.0],
        **{"nll": 0.3, "ece": 0.02, "agreement": 1.0},
    }
    (run / "export").mkdir()
    for name in ("a", "b"):
        place = run / "export" / f"{name}.tflite.json"
        place.write_text(json.dumps({"test": tested}))
        tested |= {"images": 360, "sampled": False}  # the other one is on all
    command(f"--run_dir={run}")
    report, _, page = read(run)
    text = " ".join(page.split())
    assert report["exports"][0]["images"] == (20 if sampled else 360)
    assert ("run over the whole test split" in text) is not sampled
    assert ("<td>a sample of 20 of 360</td>" in text) is sampled
    assert "84.00 to 100.00" in text
    assert report["exports"][0]["latency_ms"] is None  # there is no such file


def test_manifests_of_exported_files_are_listed(command, run):
    tested = {
        "accuracy": 0.9,
        "accuracy_interval": [0.8, 0.95],
        "nll": 0.3,
        "ece": 0.02,
    }
    (run / "export").mkdir()
    (run / "export" / "model_int8.tflite.json").write_text(
        json.dumps({"test": tested | {"agreement": 0.99}})
    )
    (run / "export" / "model_old.tflite.json").write_text("{")
    command(f"--run_dir={run}")
    report, _, page = read(run)
    assert [row["file"] for row in report["exports"]] == ["model_int8.tflite"]
    assert "model_int8.tflite" in page


def test_two_reports_never_share_a_folder_silently(command, run, tmp_path):
    out = tmp_path / "out"
    words = (f"--run_dir={run}", f"--out_dir={out}")
    assert command(*words).code == 0
    before = eval_models.tree(out)
    refused = command(*words, "--eval_tta=flip")
    assert (refused.code, eval_models.tree(out)) == (2, before)
    assert f"{out} holds another evaluation (eval_tta none, now flip)" in refused.err[0]
    copy = shutil.copytree(run, tmp_path / "moved")
    assert command(f"--run_dir={copy}", f"--out_dir={out}").code == 0  # the same bytes
    other = eval_models.tflite(tmp_path / "foreign.tflite")
    data = json.loads((run / "config.json").read_text())["run"]["data_dir"]
    words = ("--dataset=digits", f"--data_dir={data}", f"--out_dir={out}")
    assert command(f"--model={other}", *words).code == 2


def test_a_default_folder_says_what_it_replaces(command, run):
    where = run / "report" / "report.json"
    assert command(f"--run_dir={run}").err == []
    assert command(f"--run_dir={run}").err == []  # the same again
    found = json.loads(where.read_text())
    found["model"] |= {"path": "tiny/checkpoints/step-00000003", "sha256": "other"}
    where.write_text(json.dumps(found))
    (said,) = command(f"--run_dir={run}").err
    assert said.startswith("replaces what is in") and "step-00000003, now" in said


@pytest.mark.parametrize("name", ["notes.txt", "comparison.json", "figures.old"])
def test_a_folder_with_other_files_is_not_replaced(command, run, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    ended = command(f"--run_dir={run}", f"--out_dir={tmp_path / 'out'}")
    assert ended.code == 2 and f"which holds {name}" in ended.err[0]
    assert [p.name for p in (tmp_path / "out").iterdir()] == [name]


def test_a_report_is_replaced_as_a_whole(command, run):
    """Nothing of an older one stays, and nothing half-written beside it."""
    (run / "report" / "figures").mkdir(parents=True)
    (run / "report" / "figures" / "old.png").write_bytes(b"old")
    left = run / f"{atomic_folders.HIDDEN}killed"
    left.mkdir()
    (left / atomic_folders.LOCK).touch()
    inode = (run / "report").stat().st_ino
    assert command(f"--run_dir={run}").code == 0
    assert (run / "report").stat().st_ino != inode
    assert not (run / "report" / "figures" / "old.png").exists()
    assert not list(run.glob(f"{atomic_folders.HIDDEN}*"))


@pytest.mark.slow
def test_the_command_itself(run):
    ended = run_command("eval.report", f"--run_dir={run}", fresh=True)
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) == 2
