"""A run as a teacher: who may be one, and that its answers outlive kills exactly."""

import json
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.support import eval_models
from tests.support.commands import result, run_trainer
from tests.support.flag_values import read
from tests.support.multi_worker import LOGGED, finish, losses, start
from tests.support.resumed_runs import EXACT, assert_equal_runs, interrupt
from trainer.config.enums import Augment
from trainer.config.run_config import RunConfig
from trainer.config.schema import DataConfig
from trainer.data import loading
from trainer.data.augmentation.pipeline import augment
from trainer.data.augmentation.views import AugmentationIndex
from trainer.distillation import soft_labels, teacher
from trainer.distillation.soft_labels import SoftLabelCache
from trainer.errors import InvalidInput
from trainer.models.evaluator import Evaluator
from trainer.rng import RandomStream
from trainer.rundir import checkpoints, layout
from trainer.rundir.weights import eval_weights

SMALL = [
    "--model_kwargs=width=0.1",
    "--crop_pixels=1",
]  # another network than the teacher's


@pytest.fixture(scope="module")
def taught_by(data_dir, tmp_path_factory) -> str:
    """--teacher=RUN of a run that knows the digits."""
    run_dir = tmp_path_factory.mktemp("teacher") / "run"
    eval_models.make_run(run_dir, data_dir, taught=True)
    return f"--teacher={run_dir}"


@pytest.fixture(scope="module")
def student(data_dir, taught_by, tmp_path_factory):
    """The directory of a student that was never interrupted."""
    run_dir = tmp_path_factory.mktemp("student") / "whole"
    run_trainer(data_dir, run_dir, *EXACT, *SMALL, taught_by, check=True)
    return run_dir


def files(run_dir) -> dict[str, tuple[int, bytes]]:
    """Time of change and content of each file of answers."""
    paths = (run_dir / soft_labels.FOLDER).iterdir()
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}


@pytest.mark.slow
def test_a_killed_student_resumes_exactly_and_asks_only_for_what_is_damaged(
    data_dir, taught_by, student, tmp_path
):
    cut, hurt = tmp_path / "cut", tmp_path / "hurt"
    interrupt(data_dir, cut, signal.SIGKILL, [*SMALL, taught_by])
    before = files(cut)
    assert len(before) == 9 + 1  # views and the manifest
    shutil.copytree(cut, hurt)
    again = run_trainer(data_dir, cut, *EXACT, *SMALL, taught_by, check=True)
    assert "answers" not in again.stderr
    assert files(cut) == before
    assert_equal_runs(student, cut)
    damaged = hurt / soft_labels.FOLDER / "view-004.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    mended = run_trainer(data_dir, hurt, *EXACT, *SMALL, taught_by, check=True)
    assert "view-004.npy is not used" in mended.stderr
    assert "labels 1 of 9 views" in mended.stderr
    contents = {name: content for name, (_, content) in before.items()}
    assert {name: content for name, (_, content) in files(hurt).items()} == contents
    assert_equal_runs(student, hurt)


def test_the_answers_kept_are_those_to_what_augmentation_shows(
    data_dir, taught_by, student
):
    ran = layout.open_run(taught_by.removeprefix("--teacher="))
    held = loading.load_dataset(
        ran.config(), RunConfig(data_dir=str(data_dir)), say=print
    )
    evaluator = Evaluator(
        ran.config().model, image_shape=held.image_shape, num_classes=10
    )
    newest = checkpoints.load_latest(ran.checkpoints, skipped=print)
    evaluator.load(eval_weights(newest.arrays))
    manifest = json.loads((student / soft_labels.FOLDER / "manifest.json").read_text())
    key = {k: v for k, v in manifest.items() if k not in ("version", "shape", "files")}
    answers = SoftLabelCache(
        student / soft_labels.FOLDER, key, tuple(manifest["shape"])
    )
    answers.load(damaged=pytest.fail)
    data = DataConfig(augment=Augment.CROP, crop_pixels=1)
    views, kept = AugmentationIndex(Augment.CROP, 1), answers.array().astype(np.float64)
    for step in range(5):
        here = RandomStream(0, tf.constant(step, tf.int64), tf.constant(0, tf.int64))
        places = np.random.default_rng(step).integers(0, len(held.learnt), 100)
        pixels = tf.constant(held.train.images[held.learnt[places]])
        varied = augment(pixels, data, here)
        expected = evaluator.logits(varied.numpy().astype(np.uint8))
        expected -= expected.max(axis=1, keepdims=True)
        found = kept[views.sample_views(here, 100).numpy(), places]
        np.testing.assert_allclose(found, expected, atol=1e-2, rtol=1e-3)


def test_a_teacher_is_known_by_its_weights_wherever_it_lies(
    data_dir, taught_by, student, tmp_path
):
    moved = tmp_path / "moved"
    shutil.copytree(taught_by.removeprefix("--teacher="), moved)
    words = [*EXACT, *SMALL]
    again = run_trainer(data_dir, student, *words, f"--teacher={moved}", check=True)
    assert "test accuracy" in again.stdout
    other = run_trainer(data_dir, student, *words, f"--teacher={student}")
    assert other.returncode == 2
    assert "--teacher" in other.stderr
    described = result(moved)
    described["weights_sha256"] = "f" * 64
    (moved / "result.json").write_text(json.dumps(described))
    other = run_trainer(data_dir, student, *words, f"--teacher={moved}")
    assert other.returncode == 2
    assert "distillation.teacher_sha256" in other.stderr
    fresh = run_trainer(data_dir, tmp_path / "new", *words, f"--teacher={moved}")
    assert fresh.returncode == 2
    assert "no good checkpoint" in fresh.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_two_workers_are_taught_as_one_is(data_dir, taught_by, tmp_path):
    words = [*LOGGED, *SMALL, taught_by, "--precision=float64"]
    done = finish(start(data_dir, tmp_path / "two", *words))
    assert [code for code, _ in done] == [0, 0], done
    run_trainer(data_dir, tmp_path / "one", *words, "--threads=1", check=True)
    pairs = zip(losses(tmp_path / "two"), losses(tmp_path / "one"), strict=True)
    assert all(abs(a - b) <= 1e-9 for a, b in pairs)


def test_bad_teachers_are_named_before_tensorflow(taught_by, tmp_path):
    path = taught_by.removeprefix("--teacher=")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(path, unfinished)
    (unfinished / "result.json").unlink()
    odd = tmp_path / "odd"
    shutil.copytree(path, odd)
    (odd / "result.json").write_text('{"weights_sha256": 3}')
    cases = {
        f"--teacher={tmp_path}": "is not a run",
        f"--teacher={unfinished}": "has not finished",
        f"--teacher={odd}": "not one of ours",
        f"{taught_by} --run_dir={path}": "is also --run_dir",
        f"{taught_by} --augment=flip_crop_cutout": "flip_crop_cutout",
    }
    for words, said in cases.items():
        with pytest.raises(InvalidInput, match=said) as raised:
            read(*words.split())
        assert len(str(raised.value).splitlines()) <= 2
    config, run_config = read(taught_by, "--teacher_weight=0.5")
    assert config.distillation.teacher_sha256 == result(path)["weights_sha256"]
    assert (config.distillation.weight, run_config.teacher) == (0.5, path)
    assert type(config).from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("field", "value", "noun"),
    [
        ("name", "svhn/3.0.0", "data set"),
        ("labels", list("abc"), "classes"),
        ("image_shape", [28, 28, 1], "image shape"),
        ("sha256", {"train": "0", "test": "1"}, "data: "),
    ],
)
def test_a_teacher_of_other_data_is_refused(taught_by, field, value, noun):
    run = layout.open_run(taught_by.removeprefix("--teacher="))
    mine = run.recorded()["data"]
    teacher.check_data(run, mine)
    with pytest.raises(InvalidInput, match=f"another {noun}"):
        teacher.check_data(run, {**mine, field: value})


def test_a_teacher_that_learnt_from_held_out_rows_is_noted(taught_by):
    own = layout.open_run(taught_by.removeprefix("--teacher=")).config()

    def holding(fraction: float):
        kept = DataConfig(dataset="digits", validation_fraction=fraction)
        return type(own)(data=kept)

    assert "not independent" in teacher.leakage_warning(holding(0), holding(0.1))
    assert teacher.leakage_warning(holding(0.1), holding(0.1)) is None
    assert teacher.leakage_warning(holding(0.2), holding(0.1)) is None
