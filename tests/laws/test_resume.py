"""Killed and resumed equals never killed: the same bits, the same curves."""

import json
import shutil
import signal

import pytest

from tests.support.commands import run_trainer
from tests.support.resumed_runs import (
    EXACT,
    LONG,
    PARTS,
    TWO,
    assert_equal_runs,
    events,
    interrupt,
)

PHOTOGRAPHS = ["--augment=flip_resized_crop", "--color_jitter=0.4", "--mixup=0.2"]
PHOTOGRAPHS += ["--randaugment_ops=2", "--cutmix=1"]
SLOW_CASES = {
    "resnet8-mirrored": ["--model=resnet8", *TWO],
    "photographs-mirrored": ["--model=cnn", *PHOTOGRAPHS, *TWO],
    "cnn": ["--model=cnn"],
    "resnet8": ["--model=resnet8"],
    "cnn-mirrored": ["--model=cnn", *TWO],
    "cnn-float16": ["--model=cnn", "--precision=mixed_float16", *TWO],
}


def check_a_killed_run(data_dir, whole, cut, words) -> None:
    """A run of the same words, killed and resumed, equals `whole`."""
    assert interrupt(data_dir, cut, signal.SIGKILL, words) == -signal.SIGKILL
    assert not (cut / "result.json").exists()
    done = run_trainer(data_dir, cut, *EXACT, *words, "--steps_per_call=5", check=True)
    assert f"resumed {cut} after step" in done.stderr
    assert_equal_runs(whole, cut)


def test_killed_and_resumed_equals_never_killed(data_dir, whole_run, tmp_path):
    """A block of resnet8 is traced in a third of its time; networks are slow."""
    check_a_killed_run(data_dir, whole_run, tmp_path / "cut", PARTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_CASES)
def test_a_network_killed_and_resumed_equals_one_never_killed(data_dir, tmp_path, name):
    words = [*SLOW_CASES[name], *LONG]
    run_trainer(data_dir, tmp_path / "whole", *EXACT, *words, check=True)
    check_a_killed_run(data_dir, tmp_path / "whole", tmp_path / "cut", words)


def test_a_finished_run_prints_its_result_at_once(data_dir, tiny_run, tmp_path):
    path = shutil.copytree(tiny_run.path, tmp_path / "run", symlinks=True)
    again = run_trainer(data_dir, path, check=True)
    first = tiny_run.stdout.replace(str(tiny_run.path.parent), str(tmp_path))
    assert again.stdout == first
    assert "test accuracy" in again.stdout
    other = run_trainer(data_dir, path, "--train_steps=3", "--seed=5")
    assert other.returncode == 2
    assert "seed: 0 != 5" in other.stderr
    assert "train_steps: 24 != 3" in other.stderr


def test_every_line_has_its_speed_also_that_of_the_call_that_compiles(tiny_run):
    seen = events(tiny_run.path)
    steps = [step for tag, step in seen if tag == "train/images_per_second"]
    assert steps == [5, 10, 15, 20, 24]


@pytest.mark.slow
def test_a_resume_goes_on_without_the_notice_and_names_damage(data_dir, tmp_path):
    path, words = tmp_path / "run", ["--train_steps=2", "--warmup_epochs=0"]
    run_trainer(data_dir, path, *words, check=True)
    (path / "result.json").unlink()
    (path / "environment.json").unlink()
    (path / "checkpoints" / "step-00000040").touch()
    done = run_trainer(data_dir, path, *words, check=True)
    assert "whether the machine changed is not known" in done.stderr
    assert "step-00000040: it is not a folder" in done.stderr
    (path / "result.json").unlink()
    recorded = json.loads((path / "config.json").read_text()) | {"data": [1]}
    (path / "config.json").write_text(json.dumps(recorded))
    done = run_trainer(data_dir, path, *words)
    assert done.returncode == 2
    assert "config.json is damaged" in done.stderr
