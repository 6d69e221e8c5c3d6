"""One process for each class of error: exit 2, two lines, no traceback, no file."""

import os
import shutil

import pytest

from tests.support.commands import BLOCK, run_command, run_trainer

SHORT = ["--train_steps=2", "--warmup_epochs=0"]


def assert_refused(done, *named: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in named:
        assert word in done.stderr


def test_a_data_set_nobody_knows(tmp_path):
    done = run_trainer(tmp_path / "data", tmp_path / "run", "--dataset=no_such_set")
    assert_refused(done, "no_such_set", "--dataset=digits")
    assert list(tmp_path.iterdir()) == []


def test_not_prepared_and_no_network_is_found_out_in_seconds(tmp_path):
    offline = {**os.environ, "https_proxy": "http://127.0.0.1:9"}
    words = ["--dataset=cifar10"]
    done = run_trainer(tmp_path / "data", tmp_path / "run", *words, env=offline)
    assert_refused(done, "cifar10", "--data_dir", "--dataset=digits")
    assert list(tmp_path.iterdir()) == []


def damaged(data_dir, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(data_dir, copy)
    (folder,) = (copy / "digits").iterdir()
    return copy, folder


@pytest.mark.parametrize("file", ["digits-train", "digits-test"])
def test_a_half_written_file_of_data(data_dir, tmp_path, file):
    copy, folder = damaged(data_dir, tmp_path)
    (path,) = folder.glob(f"{file}.*")
    path.write_bytes(path.read_bytes()[:-100])
    done = run_trainer(copy, tmp_path / "run")
    assert_refused(done, "digits", "cannot be read")
    assert not (tmp_path / "run").exists()


def test_a_missing_file_of_data(data_dir, tmp_path):
    copy, folder = damaged(data_dir, tmp_path)
    for path in folder.glob("digits-train.*"):
        path.unlink()
    assert_refused(run_trainer(copy, tmp_path / "run"), "digits")


def test_a_broken_description_of_data(data_dir, tmp_path):
    copy, folder = damaged(data_dir, tmp_path)
    (folder / "dataset_info.json").write_text("{")
    assert_refused(run_trainer(copy, tmp_path / "run"), "digits")


def test_a_dry_run_writes_nothing_and_tells_the_plan(data_dir, tmp_path):
    """Of a prepared folder that may only be read, which is enough."""
    copy, _ = damaged(data_dir, tmp_path)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = run_trainer(copy, tmp_path / "runs" / "x", "--dry_run")
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "24 steps of 32 images" in done.stderr
    assert "petaFLOP in convolutions" in done.stderr
    assert "nothing was written" in done.stdout
    assert list(tmp_path.iterdir()) == [copy]


def test_a_dry_run_does_not_prepare(tmp_path):
    done = run_trainer(tmp_path / "data", tmp_path / "run", "--dry_run")
    assert_refused(done, "--dry_run", "trainer.prepare")
    assert list(tmp_path.iterdir()) == []


def test_a_batch_the_replicas_cannot_share(data_dir, tmp_path):
    words = ["--strategy=mirrored", "--logical_devices=3"]
    done = run_trainer(data_dir, tmp_path / "run", *words)
    assert_refused(done, "--global_batch=32", "30 and 33")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_run_should_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    for run in (tmp_path / "file", tmp_path / "file" / "run"):
        assert_refused(run_trainer(tmp_path, run), "is a file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_is_not_a_run(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    assert_refused(run_trainer(tmp_path, tmp_path), "not a run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_run_directory(tmp_path):
    tmp_path.chmod(0o555)
    assert_refused(run_trainer(tmp_path, tmp_path / "run"), "no permission to write")
    tmp_path.chmod(0o755)


def test_unwritable_is_also_found_for_root(data_dir):
    assert_refused(run_trainer(data_dir, "/proc/run"), "/proc")


@pytest.mark.parametrize("text", ["{", "{}", '{"cluster": {}}', "[]", '"x"'])
def test_a_broken_cluster_description(data_dir, tmp_path, text):
    done = run_trainer(
        data_dir,
        tmp_path / "run",
        "--strategy=multi_worker",
        env={**os.environ, "TF_CONFIG": text},
    )
    assert_refused(done, "TF_CONFIG")


def test_a_run_without_its_own_data_is_refused(data_dir, tiny_run, tmp_path):
    shutil.copytree(tiny_run.path, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"train": "', '"train": "0'))
    done = run_trainer(data_dir, tmp_path / "run")
    assert_refused(done, "other data", "sha256.train")


def test_resume_never_and_must(data_dir, tiny_run, tmp_path):
    done = run_trainer(data_dir, tmp_path / "run", "--resume=must")
    assert_refused(done, "--resume=must")
    assert list(tmp_path.iterdir()) == []
    done = run_trainer(data_dir, tiny_run.path, "--resume=never")
    assert_refused(done, "--resume=never")


def test_a_loss_that_is_not_finite_ends_with_the_last_good_checkpoint(
    data_dir, tmp_path
):
    words = ["--learning_rate=1e30", "--optimizer=sgd", "--checkpoint_every_steps=1"]
    done = run_trainer(data_dir, tmp_path / "run", *words, "--weight_decay=0")
    assert done.returncode == 1
    assert "rate" in done.stderr
    assert "step-" in done.stderr.splitlines()[-2]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
    "network",
    [
        pytest.param([*BLOCK, "--train_steps=8", "--warmup_epochs=0"], id="block"),
        pytest.param([], id="cnn", marks=pytest.mark.slow),
    ],
)
def test_an_overflow_of_float16_is_saved_and_survived(data_dir, tmp_path, network):
    words = [*network, "--precision=mixed_float16", "--optimizer=sgd"]
    words += ["--learning_rate=0.5"]
    every = ["--checkpoint_every_steps=1", "--strategy=mirrored", "--logical_devices=2"]
    run_trainer(data_dir, tmp_path / "run", *words, *every, check=True)


def test_weights_that_are_not_finite_are_never_saved(data_dir, tmp_path):
    words = ["--optimizer=sgd", "--learning_rate=3e38", "--validation_fraction=0"]
    done = run_trainer(data_dir, tmp_path / "run", *words, *SHORT, "--clip_norm=1e10")
    assert done.returncode == 1
    assert "not finite" in done.stderr or "nan" in done.stderr
    assert "last good checkpoint: none" in done.stderr
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_images_too_small_for_the_network_are_refused(data_dir, tmp_path):
    import numpy as np

    from tests.support.tfds_sets import pixels, prepare

    labels = np.arange(12) % 3
    prepare(tmp_path / "data", "tiny", pixels(12, 4, 4, 3), labels, shape=(4, 4, 3))
    words = ["--dataset=tiny", "--global_batch=4"]
    done = run_trainer(tmp_path / "data", tmp_path / "run", *words)
    assert_refused(done, "--model=cnn", "(4, 4, 3)")


def test_prepare_says_where_the_data_is(data_dir):
    done = run_command(
        "trainer.prepare", "--dataset=digits", f"--data_dir={data_dir}", check=True
    )
    assert "'train': 1437" in done.stdout
    assert "'test': 360" in done.stdout
    bad = run_command("trainer.prepare", "--dataset=nonsense", "--data_dir=/nowhere")
    assert bad.returncode == 2


def test_no_chatter_of_tensorflow_reaches_the_terminal(tiny_run):
    lines = (tiny_run.stderr + tiny_run.stdout).splitlines()
    foreign = [line for line in lines if not line.startswith("device: ")]
    for word in ("oneDNN", "cuda", "Instructions for updating", "WARNING", "E0000"):
        assert word not in "\n".join(foreign)
    assert "ETA" in tiny_run.stderr
    assert "\r" not in tiny_run.stderr  # not a terminal: whole lines
    assert "tensorboard --logdir" in tiny_run.stdout
