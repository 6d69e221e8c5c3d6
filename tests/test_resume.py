"""Killed and resumed equals never killed: the same bits, the same curves."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, TINY, result, train
from trainer import checkpoints

SAME = ("weights_sha256", "raw_weights_sha256", "rows_sha256", "test_accuracy")
EXACT = ["--checkpoint_every_steps=3", "--steps_per_call=2", "--ema_decay=0.9"]
# Steps, so that a kill comes before the end; drawing for a validation costs a second.
LONG = ["--train_steps=60", "--eval_every_epochs=0.5"]
TWO = ["--strategy=mirrored", "--logical_devices=2"]


def lines(run_dir) -> list[dict]:
    """metrics.jsonl without speeds."""
    read = [json.loads(x) for x in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in x.items() if k != "images_per_second"} for x in read]


def events(run_dir) -> list[tuple[str, int]]:
    """(tag, step) in the event files, as a plain reader finds them."""
    import tensorflow as tf

    found = []
    for path in sorted((run_dir / "tensorboard").glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if not value.tag.startswith("_hparams"):
                    found.append((value.tag, event.step))
    return found


def interrupt(data_dir, run_dir, number: signal.Signals, words) -> int:
    """Starts training, signals it at a random moment after its first checkpoint."""
    where = [f"--data_dir={data_dir}", f"--run_dir={run_dir}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.main", *TINY, *where, *EXACT, *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    limit = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < limit:
        if checkpoints.listed(run_dir / "checkpoints"):
            time.sleep(random.uniform(0, 0.3))
            process.send_signal(number)
            break
        time.sleep(0.005)
    return process.wait(timeout=60)


def assert_equal_runs(whole, cut) -> None:
    for key in SAME:
        assert result(cut)[key] == result(whole)[key], key
    assert lines(cut) == lines(whole)
    seen = events(cut)
    assert len(seen) == len(set(seen)), "a (tag, step) stands twice"
    assert sorted(seen) == sorted(events(whole))
    assert not list((cut / "checkpoints").glob(".*")), "half a save was left behind"


CASES = {
    "resnet8-mirrored": ["--model=resnet8", *TWO],
}
SLOW_CASES = {
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
    train(data_dir, whole, *EXACT, *words, check=True)
    assert interrupt(data_dir, cut, signal.SIGKILL, words) == -signal.SIGKILL
    assert not (cut / "result.json").exists()
    train(data_dir, cut, *EXACT, *words, "--steps_per_call=5", check=True)
    assert_equal_runs(whole, cut)


def test_a_finished_run_prints_its_result_at_once(data_dir, tmp_path):
    words = ["--train_steps=2", "--warmup_epochs=0", "--log_every_steps=1"]
    first = train(data_dir, tmp_path / "run", *words, check=True)
    seen = events(tmp_path / "run")  # also of the line of the call that compiles
    assert [step for tag, step in seen if tag == "train/images_per_second"] == [1, 2]
    again = train(data_dir, tmp_path / "run", *words, check=True)
    assert again.stdout == first.stdout
    assert "test accuracy" in again.stdout
    other = train(data_dir, tmp_path / "run", "--train_steps=3", "--seed=5", words[1])
    assert other.returncode == 2
    assert "seed: 0 != 5" in other.stderr
    assert "train_steps: 2 != 3" in other.stderr


@pytest.mark.slow
def test_a_resume_goes_on_without_the_notice_and_names_damage(data_dir, tmp_path):
    path, words = tmp_path / "run", ["--train_steps=2", "--warmup_epochs=0"]
    train(data_dir, path, *words, check=True)
    (path / "result.json").unlink()
    (path / "environment.json").unlink()
    (path / "checkpoints" / "step-00000040").touch()
    done = train(data_dir, path, *words, check=True)
    assert "whether the machine changed cannot be told" in done.stderr
    assert "step-00000040: it is no folder" in done.stderr
    (path / "result.json").unlink()
    recorded = json.loads((path / "config.json").read_text()) | {"data": [1]}
    (path / "config.json").write_text(json.dumps(recorded))
    done = train(data_dir, path, *words)
    assert done.returncode == 2
    assert "config.json is damaged" in done.stderr
