"""Image files: the same pixels as files and as a TFDS set train to the same bits."""

import collections
import csv
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.support.commands import BLOCK, TINY, result, run_command, run_trainer
from tests.support.image_folders import write_classes
from tests.support.run_directories import make_older
from trainer.data import loading
from trainer.data.dataset import Splits
from trainer.rundir import checkpoints
from trainer.rundir.layout import Run

SAME = ("pixels_sha256", "rows_sha256", "weights_sha256", "raw_weights_sha256")
QUICK = [word for word in TINY if not word.startswith("--dataset")]


def write_files(splits: Splits, root: pathlib.Path) -> pathlib.Path:
    """Writes both splits as PNG files in SPLIT/CLASS/ and lists them in their order."""
    rows = []
    for split in (splits.train, splits.test):
        which = "train" if split is splits.train else "test"
        for number, (pixels, label) in enumerate(
            zip(split.images, split.labels, strict=True)
        ):
            name = f"{which}/{split.names[label]}/{number:05}.png"
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.squeeze()).save(path)
            rows.append((name, split.names[label], which))
    table = root / "list.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return table


def multiset(split) -> collections.Counter:
    pairs = zip(split.images, split.labels, strict=True)
    return collections.Counter((i.tobytes(), split.names[int(n)]) for i, n in pairs)


def check_same_pixels(splits: Splits, root: pathlib.Path) -> pathlib.Path:
    """Both ways to name the files give the pixels; returns the table."""
    table = write_files(splits, root)
    data_dir = str(root.parent / "data")
    listed = loading.from_files(table, data_dir=data_dir)
    folder = loading.from_files(root, data_dir=data_dir)
    for which in ("train", "test"):
        theirs, ours = splits.load(which), listed.load(which)
        np.testing.assert_array_equal(theirs.images, ours.images)
        np.testing.assert_array_equal(theirs.labels, ours.labels)
        assert ours.pixels_sha256 == theirs.pixels_sha256
        assert multiset(folder.load(which)) == multiset(theirs)
    return table


def test_digits_as_files_train_to_the_same_bits(data_dir, tiny_run, tmp_path):
    splits = loading.from_tfds("digits", str(data_dir))
    table = check_same_pixels(splits, tmp_path / "digits")
    where = [f"--data_dir={tmp_path / 'data'}", f"--image_list={table}"]
    run_dir = f"--run_dir={tmp_path / 'files'}"
    run_command("trainer.main", *QUICK, *where, run_dir, check=True)
    files, tfds_run = result(tmp_path / "files"), result(tiny_run.path)
    assert {name: files[name] for name in SAME} == {n: tfds_run[n] for n in SAME}
    assert files["data_sha256"] != tfds_run["data_sha256"]
    assert files["test_accuracy"] == tfds_run["test_accuracy"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_cifar10_as_files_trains_to_the_same_bits(tmp_path):
    """Of the prepared CIFAR-10 in $TFDS_DATA_DIR, all 60,000 images."""
    data_dir = os.environ.get("TFDS_DATA_DIR")
    if not data_dir or not tfds.builder("cifar10", data_dir=data_dir).is_prepared():
        pytest.skip("no CIFAR-10 in $TFDS_DATA_DIR")
    table = check_same_pixels(loading.from_tfds("cifar10", data_dir), tmp_path / "c")
    words = {
        "files": [f"--data_dir={tmp_path / 'data'}", f"--image_list={table}"],
        "tfds": [f"--data_dir={data_dir}", "--dataset=cifar10"],
    }
    for name, own in words.items():
        how = ["--warmup_epochs=0", f"--run_dir={tmp_path / name}"]
        run_command("trainer.main", *QUICK, *own, *how, check=True, fresh=True)
    files, tfds_run = result(tmp_path / "files"), result(tmp_path / "tfds")
    assert {name: files[name] for name in SAME} == {n: tfds_run[n] for n in SAME}


@pytest.fixture(scope="module")
def photo_run(tmp_path_factory) -> pathlib.Path:
    """A folder with a run of its own images, of several sizes, one of them broken."""
    root = tmp_path_factory.mktemp("photos")
    write_classes(root / "photos", {"disc": 40, "ring": 40}, size=(20, 30))
    write_classes(root / "photos", {"star": 40}, size=(24, 20))
    (root / "photos" / "star" / "broken.png").write_bytes(b"broken")
    words = [f"--image_dir={root / 'photos'}", f"--data_dir={root / 'data'}"]
    words += ["--image_size=16", "--resize=letterbox", f"--run_dir={root / 'run'}"]
    refused = run_command("trainer.main", *QUICK, *words)
    assert refused.returncode == 2
    assert "star/broken.png" in refused.stderr
    assert not (root / "run").exists()
    words += ["--skip_unreadable", "--checkpoint_every_steps=8"]
    run_command("trainer.main", *QUICK, *words, check=True)
    return root


def test_a_run_records_how_files_became_pixels(photo_run):
    recorded = json.loads((photo_run / "run" / "config.json").read_text())["data"]
    assert recorded["name"] == "image_dir/photos"
    assert recorded["labels"] == ["disc", "ring", "star"]
    assert recorded["preprocessing"]["resize"] == "letterbox"
    assert recorded["image_shape"] == [16, 16, 3]
    assert recorded["skipped"]["files"] == 1
    assert set(recorded["pixels_sha256"]) == {"train", "test"}
    flags = (photo_run / "run" / "flags.txt").read_text()
    assert f"--image_dir={photo_run / 'photos'}" in flags
    assert "--image_size=16" in flags


def test_a_report_finds_the_files_again(photo_run):
    run_dir = f"--run_dir={photo_run / 'run'}"
    done = run_command("eval.report", run_dir, check=True)
    assert "1 files that cannot be read are left out" in done.stderr
    report = json.loads((photo_run / "run" / "report" / "report.json").read_text())
    assert report["data"]["same_as_trained"] is True
    assert report["data"]["preprocessing"]["resize"] == "letterbox"
    assert any("cannot be read" in line for line in report["remarks"])
    accuracy = result(photo_run / "run")["test_accuracy"]
    assert report["scores"]["accuracy"] == pytest.approx(accuracy)


@pytest.fixture
def broken_run(photo_run, tmp_path) -> pathlib.Path:
    """A run of a folder without broken files, where a test image got broken since."""
    photos, run = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photo_run / "photos", photos)
    (photos / "star" / "broken.png").unlink()
    shutil.copytree(photo_run / "run", run)
    config = json.loads((run / "config.json").read_text())
    config["run"] |= {"image_dir": str(photos), "data_dir": str(tmp_path / "data")}
    config["run"]["skip_unreadable"] = False
    (run / "config.json").write_text(json.dumps(config))
    with np.load(photo_run / "run" / "report" / "predictions.npz") as kept:
        tested = [name for name in kept["ids"].tolist() if name.startswith("ring")]
    (photos / tested[0]).write_bytes(b"no more")
    return run


def test_files_that_broke_since_are_named_or_left_out(broken_run):
    where = f"--run_dir={broken_run}"
    for module in ("eval.report", "export.tflite"):
        refused = run_command(module, where)
        assert refused.returncode == 2, refused.stderr
        assert "1 files cannot be read: ring/" in refused.stderr
        assert refused.stderr.endswith("leave them out with --skip_unreadable\n")
        assert len(refused.stderr.strip().splitlines()) <= 3
    for module in ("eval.report", "export.tflite"):
        done = run_command(module, where, "--skip_unreadable", check=True)
        assert "1 files that cannot be read are left out" in done.stderr
    report = json.loads((broken_run / "report" / "report.json").read_text())
    assert report["data"]["same_as_trained"] is False
    found = run_command("eval.data", where, check=True)
    assert "1 cannot be read" in found.stdout


def test_files_are_left_out_of_image_files_only(template):
    done = run_command("eval.report", f"--run_dir={template}", "--skip_unreadable")
    assert done.returncode == 2
    assert "dataset=digits has none" in done.stderr


def test_runs_of_a_folder_are_compared_on_its_test_images(photo_run, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(photo_run / "run", other)
    runs = [str(photo_run / "run"), str(other)]
    done = run_command("eval.compare", *runs, f"--out_dir={out}", check=True)
    assert "is not the test split" not in done.stderr
    found = json.loads((out / "comparison.json").read_text())
    assert found["data"]["dataset"] == "image_dir/photos"
    seen = [model["accuracy"] for model in found["models"]]
    assert seen == pytest.approx([result(photo_run / "run")["test_accuracy"]] * 2)


def test_an_export_carries_the_specification(photo_run):
    words = [f"--run_dir={photo_run / 'run'}", "--verify_sample=4"]
    run_command("export.tflite", *words, check=True)
    (beside,) = (photo_run / "run" / "export").glob("*.tflite.json")
    manifest = json.loads(beside.read_text())
    assert manifest["preprocessing"]["resize"] == "letterbox"
    content = beside.with_suffix("").read_bytes()
    assert b"image files become 16 x 16 RGB, letterbox" in content


def test_a_folder_that_is_gone_is_refused_and_another_is_taken(photo_run, tmp_path):
    run, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(photo_run / "run", run)
    config = json.loads((run / "config.json").read_text())
    config["run"]["image_dir"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))
    refused = run_command("eval.report", f"--run_dir={run}")
    assert refused.returncode == 2
    assert "does not exist" in refused.stderr
    assert "--image_dir" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 2
    shutil.copytree(photo_run / "photos", moved)
    done = run_command("eval.report", f"--run_dir={run}", f"--image_dir={moved}")
    assert done.returncode == 0, done.stderr
    report = json.loads((run / "report" / "report.json").read_text())
    assert report["data"]["same_as_trained"] is True
    assert report["data"]["dataset"] == "image_dir/moved"


def stop_after(run: pathlib.Path, step: int) -> None:
    """Leaves of a finished run what there was after `step`."""
    (run / "result.json").unlink()
    for path in checkpoints.list_folders(run / "checkpoints"):
        if path != checkpoints.step_folder(run / "checkpoints", step):
            checkpoints.remove(path)


def test_a_resume_goes_on_with_the_same_images_and_refuses_others(photo_run):
    words = [f"--image_dir={photo_run / 'photos'}", f"--data_dir={photo_run / 'data'}"]
    words += ["--image_size=16", "--resize=letterbox", "--skip_unreadable"]
    run = shutil.copytree(photo_run / "run", photo_run / "stopped", symlinks=True)
    started = ["trainer.main", *QUICK, *words, f"--run_dir={run}"]
    whole = result(run)
    stop_after(run, 16)
    done = run_command(*started, check=True)
    assert "after step 16" in done.stderr
    assert {name: result(run)[name] for name in SAME} == {n: whole[n] for n in SAME}
    (run / "result.json").unlink()
    write_classes(photo_run / "photos", {"new": 1, "disc": 41}, size=(20, 30))
    shutil.rmtree(photo_run / "photos" / "new")
    done = run_command(*started)
    assert done.returncode == 2
    assert "1 added (disc/040.png)" in done.stderr
    assert "was trained on other data" in done.stderr


@pytest.mark.slow
def test_a_run_that_recorded_less_goes_on(data_dir, tmp_path):
    """As before there were image files, without what its data is named by today."""
    run = tmp_path / "run"
    words = ["--checkpoint_every_steps=8", "--validation_fraction=0"]
    run_trainer(data_dir, run, *words, check=True)
    whole = result(run)
    stop_after(run, 16)
    make_older(Run(run))
    done = run_trainer(data_dir, run, *words, check=True)
    assert "after step 16" in done.stderr and "skipped" not in done.stderr
    assert {name: result(run)[name] for name in SAME} == {n: whole[n] for n in SAME}
    refused = run_trainer(data_dir, run, *words, "--test_fraction=0.2")
    assert refused.returncode == 2
    assert "--test_fraction=0.2 is for --image_dir and --image_list" in refused.stderr


@pytest.mark.slow
def test_a_resized_tfds_set_is_evaluated_at_the_size_of_its_run(data_dir, tmp_path):
    where = [f"--data_dir={data_dir}", f"--run_dir={tmp_path / 'run'}"]
    sizes = ["--image_size=20x16", "--channels=1", "--train_steps=2"]
    sizes += ["--warmup_epochs=0", *BLOCK]
    run_command("trainer.main", *TINY, *where, *sizes, check=True)
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["data"]
    assert recorded["image_shape"] == [20, 16, 1]
    done = run_command("eval.report", *where, check=True)
    assert "is not the test split" not in done.stderr
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert report["data"]["same_as_trained"] is True
    accuracy = result(tmp_path / "run")["test_accuracy"]
    assert report["scores"]["accuracy"] == pytest.approx(accuracy)
