"""The command that classifies files: formats, pipes, bad files, exit codes."""

import csv
import hashlib
import io
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import trainer
from eval import evaluation, predict
from tests.support import eval_models
from tests.support.commands import run_command
from trainer.data.preprocessing import UnreadableImage
from trainer.data.sources import tfds_source


@pytest.fixture(scope="module")
def digits(data_dir):
    return tfds_source.load_split(tfds_source.locate("digits", str(data_dir)), "test")


@pytest.fixture(scope="module")
def photos(digits, tmp_path_factory):
    """The first 60 test digits as PNG in class folders, and a file that is no image."""
    folder = tmp_path_factory.mktemp("photos")
    for n in range(60):
        path = folder / str(digits.labels[n]) / f"{n:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(digits.images[n]).save(path)
    return folder


@pytest.fixture(scope="module")
def tflite_file(tmp_path_factory):
    return eval_models.tflite(tmp_path_factory.mktemp("model") / "means.tflite")


@pytest.fixture
def spoilt(photos, tmp_path):
    copy = shutil.copytree(photos, tmp_path / "photos")
    (copy / "3" / "bad.jpg").write_bytes(b"no image")
    return copy


@pytest.fixture
def command(monkeypatch, capfd):
    def call(*words):
        return eval_models.command(monkeypatch, capfd, "predict", *map(str, words))

    return call


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_run_answers_class_folders_as_its_evaluation_does(
    template, photos, digits, data_dir, tmp_path
):
    done = run_command(
        "eval.predict", f"--run_dir={template}", "--format=csv", str(photos)
    )
    assert done.returncode == 0, done.stderr
    rows = {int(row["file"][-6:-4]): row for row in rows_of(done.stdout)}
    assert len(rows) == 60 == done.stdout.count("\n") - 1
    assert all(int(rows[n]["label"]) == digits.labels[n] for n in range(60))
    run = shutil.copytree(template, tmp_path / "run")
    packed = np.load(evaluation.evaluate(run).path / "predictions.npz")
    expected = packed["probabilities"][:60]
    found = [float(rows[n]["probability"]) for n in range(60)]
    np.testing.assert_allclose(found, expected.max(1), rtol=1e-4)
    right = sum(row["class"] == row["label"] for row in rows.values())
    (line,) = [line for line in done.stderr.splitlines() if "accuracy" in line]
    assert f"{right} of 60 images in class folders" in line and "95 % interval" in line


def test_a_tflite_file_answers_paths_of_a_pipe(tflite_file, spoilt):
    names = [str(spoilt / "3" / "bad.jpg"), *map(str, sorted(spoilt.glob("1/*")))]
    done = run_command(
        "eval.predict",
        f"--model={tflite_file}",
        "--format=jsonl",
        "--top_k=2",
        fresh=True,
        input="\0".join(names),
    )
    assert done.returncode == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["file"] for row in rows] == names[1:]
    assert {len(row["top"]) for row in rows} == {2}
    assert [line for line in done.stderr.splitlines() if "bad.jpg" in line] == [
        f"{names[0]}: no picture of a known format"
    ]
    assert done.stderr.splitlines()[-1].startswith("1 of ")


def test_a_bad_file_does_not_stop_the_rest(command, tflite_file, spoilt):
    ended = command(f"--model={tflite_file}", "--format=csv", spoilt, "none.png")
    assert ended.code == 1
    assert len(rows_of(ended.out)) == 60
    assert sum("bad.jpg: no picture" in line for line in ended.err) == 1
    assert sum(line.startswith("none.png: No such") for line in ended.err) == 1
    assert any(
        "1 that cannot be read" in line or "2 that" in line for line in ended.err
    )


def test_a_table_ends_with_the_accuracy(command, tflite_file, photos):
    ended = command(f"--model={tflite_file}", photos)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].split()[:3] == ["file", "class", "probability"]
    assert any(line.startswith("accuracy ") for line in lines[61:])
    assert ended.err == []


def test_a_grid_is_drawn(command, tflite_file, photos, tmp_path):
    path = tmp_path / "grid.png"
    assert command(f"--model={tflite_file}", photos, f"--grid={path}").code == 0
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_a_folder_of_a_run_by_bytes_that_are_no_text(command, tflite_file, tmp_path):
    path = os.fsencode(tmp_path / "odd") + b"\xff.png"
    Image.new("RGB", (40, 30)).save(tmp_path / "plain.png")
    os.rename(tmp_path / "plain.png", path)
    ended = command(f"--model={tflite_file}", "--format=jsonl", tmp_path)
    assert ended.code == 0
    assert os.fsencode(json.loads(ended.out)["file"]) == path


def with_manifest(file, tmp_path, threshold):
    """A copy of `file` whose manifest has this threshold of 95 %."""
    path = shutil.copy(file, tmp_path / "net.tflite")
    entry = {"threshold": threshold, "guarantee": "What holds."}
    entry |= dict.fromkeys(("coverage_validation", "selective_accuracy_validation"))
    manifest = {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "abstain": {"0.95": entry},
        "abstain_rows": {"images": 100},
    }
    path.with_name("net.tflite.json").write_text(json.dumps(manifest))
    return path


def test_a_file_refuses_what_is_below_its_threshold(
    command, tflite_file, photos, tmp_path
):
    plain = command(f"--model={tflite_file}", "--format=jsonl", photos)
    sure = [json.loads(line)["probability"] for line in plain.out.splitlines()]
    middle = sorted(sure)[30]
    path = with_manifest(tflite_file, tmp_path, middle)
    words = [f"--model={path}", "--abstain=0.95", photos]
    ended = command(*words, "--format=jsonl")
    assert ended.code == 0 and "What holds." in ended.err[0]
    rows = [json.loads(line) for line in ended.out.splitlines()]
    refused = [row for row in rows if not row["answered"]]
    assert 25 <= len(refused) <= 31
    assert all(row["class"] is None and row["top"] for row in refused)
    (line,) = [line for line in ended.err if line.startswith("accuracy ")]
    assert f" of {60 - len(refused)} answers, answered " in line
    table = command(*words)
    assert table.out.count("unknown") == len(refused)
    for threshold, told in (
        (None, "no threshold for it. What holds."),
        (2.0, "damaged"),
    ):
        path = with_manifest(tflite_file, tmp_path, threshold)
        ended = command(*words)
        assert (ended.code, ended.out) == (2, "")
        assert len(ended.err) <= 2 and told in " ".join(ended.err)


def test_a_run_has_a_threshold_of_any_value(command, data_dir, photos, tmp_path):
    """The first call counts the validation rows, the second needs no data."""
    run = eval_models.make_run(tmp_path / "taught", data_dir, taught=True).path
    words = [f"--run_dir={run}", "--format=csv", photos]
    ended = command("--abstain=0.05", *words)
    assert ended.code == 0, ended.err
    noted = json.loads((run / "abstain.json").read_text())
    assert noted["rows"] == 142 and noted["answered"][0] == 142
    recorded = json.loads((run / "config.json").read_text())
    recorded["run"]["data_dir"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(recorded))
    again = command("--abstain=0.05", *words)
    assert (again.code, again.out) == (0, ended.out)
    assert {row["answered"] for row in rows_of(ended.out)} <= {"true", "false"}
    none = command("--abstain=0.999", *words)
    assert none.code == 2 and "rows are needed" in " ".join(none.err)


WRONG = {
    "--abstain=0.95": "has no thresholds",
    "--abstain=1": "between 0 and 1",
    "--abstain=nan": "between 0 and 1",
    "--abstain=high": "abstain",
    "--grid=x.txt": ".png",
    "--grid=no/such/x.png": "not there",
    "--image_size=8x": "HEIGHTxWIDTH",
    "--top_k=0": "top_k",
    "--format=xml": "csv",
    "--resize=zoom": "letterbox",
    "--run_dir=a": "two things",
    "--checkpoint=3": "two things",
    "--input_scaling=pixels": "8-bit",
    "--image_size=64": "32x32 only",
}


@pytest.mark.parametrize("flag", WRONG)
def test_wrong_usage_is_two_lines_and_exit_2(command, tflite_file, photos, flag):
    ended = command(f"--model={tflite_file}", photos, flag)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err) <= 2 and WRONG[flag] in " ".join(ended.err)


def test_no_path_at_a_terminal_is_wrong_usage(command, tflite_file, monkeypatch):
    monkeypatch.setattr(predict, "_is_terminal", lambda: True)
    ended = command(f"--model={tflite_file}")
    assert ended.code == 2 and "no path was named" in ended.err[0]


def test_a_folder_without_a_run_or_a_model_is_wrong_usage(command, photos, tmp_path):
    assert command(f"--run_dir={tmp_path}", photos).code == 2
    assert command(f"--model={tmp_path / 'none.tflite'}", photos).code == 2


def test_the_library_answers_the_same_files(template, photos, digits):
    model = trainer.load(template)
    paths = sorted(photos.rglob("*.png"), key=lambda path: path.name)
    found = model.predict_files(paths)
    assert found.dtype == np.float32 and found.shape == (60, 10)
    np.testing.assert_array_equal(found, model.predict(digits.images[:60]))
    with pytest.raises(UnreadableImage, match="nothing.png"):
        model.predict_files([*paths, photos / "nothing.png"])
    assert model.predict_files([]).shape == (0, 10)
