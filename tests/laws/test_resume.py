"""Killed and resumed equals never killed: the same bits, the same curves."""

import json
import signal

import pytest

from tests.support.commands import BLOCK, run_trainer
from tests.support.resumed_runs import EXACT, assert_equal_runs, events, interrupt

# So many steps that a kill comes before the end.
LONG = ["--train_steps=48", "--eval_every_epochs=0.5"]
PHOTOGRAPHS = ["--augment=flip_resized_crop", "--color_jitter=0.4", "--mixup=0.2"]
PHOTOGRAPHS += ["--randaugment_ops=2", "--cutmix=1"]
TWO = ["--strategy=mirrored", "--logical_devices=2"]


# A block of resnet8 is traced in a third of its time and has the parts of the longer
# siblings, which are slow: replicas, batch statistics, dropout, averages, mixtures.
CASES = {"block-mirrored": [*BLOCK, "--mixup=0.2", *TWO]}
SLOW_CASES = {
    "resnet8-mirrored": ["--model=resnet8", *TWO],
    "photographs-mirrored": ["--model=cnn", *PHOTOGRAPHS, *TWO],
    "cnn": ["--model=cnn"],
    "resnet8": ["--model=resnet8"],
    "cnn-mirrored": ["--model=cnn", *TWO],
    "cnn-float16": ["--model=cnn", "--precision=mixed_float16", *TWO],
}


def params():
    fast = [pytest.param(words, id=name) for name, words in CASES.items()]
    slow = [
        pytest.param(words, id=name, marks=pytest.mark.slow)
        for name, words in SLOW_CASES.items()
    ]
    return fast + slow


@pytest.mark.parametrize("words", params())
def test_killed_and_resumed_equals_never_killed(data_dir, tmp_path, words):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = [*words, *LONG]
    run_trainer(data_dir, whole, *EXACT, *words, check=True)
    assert interrupt(data_dir, cut, signal.SIGKILL, words) == -signal.SIGKILL
    assert not (cut / "result.json").exists()
    done = run_trainer(data_dir, cut, *EXACT, *words, "--steps_per_call=5", check=True)
    assert f"resumed {cut} after step" in done.stderr
    assert_equal_runs(whole, cut)


def test_a_finished_run_prints_its_result_at_once(data_dir, tmp_path):
    words = ["--train_steps=2", "--warmup_epochs=0", "--log_every_steps=1"]
    first = run_trainer(data_dir, tmp_path / "run", *words, check=True)
    seen = events(tmp_path / "run")  # also of the line of the call that compiles
    assert [step for tag, step in seen if tag == "train/images_per_second"] == [1, 2]
    again = run_trainer(data_dir, tmp_path / "run", *words, check=True)
    assert again.stdout == first.stdout
    assert "test accuracy" in again.stdout
    other = run_trainer(
        data_dir, tmp_path / "run", "--train_steps=3", "--seed=5", words[1]
    )
    assert other.returncode == 2
    assert "seed: 0 != 5" in other.stderr
    assert "train_steps: 2 != 3" in other.stderr


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
