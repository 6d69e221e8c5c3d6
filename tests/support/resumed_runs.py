"""Interrupted trainings, and what a resumed run shares with a whole one."""

import json
import random
import signal
import subprocess
import sys
import time

from tests.support.commands import BLOCK, ROOT, TINY, result
from trainer.rundir import checkpoints

SAME = ("weights_sha256", "raw_weights_sha256", "rows_sha256", "test_accuracy")
EXACT = ["--checkpoint_every_steps=3", "--steps_per_call=2", "--ema_decay=0.9"]
TWO = ["--strategy=mirrored", "--logical_devices=2"]
# So many steps that a kill comes before the end.
LONG = ["--train_steps=48", "--eval_every_epochs=0.5"]
# Soon traced, with replicas, batch statistics, dropout, averages and mixtures.
PARTS = [*BLOCK, "--mixup=0.2", *TWO, *LONG]
WHOLE = [*EXACT, *PARTS]
# On one replica, for who needs any run of which something is left out.
SINGLE = [*EXACT, *BLOCK, *LONG]


def lines(run_dir) -> list[dict]:
    """metrics.jsonl without speeds."""
    read = [json.loads(x) for x in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in x.items() if k != "images_per_second"} for x in read]


def events(run_dir) -> list[tuple[str, int]]:
    """(tag, step) in the event files, as a plain reader finds them."""
    import tensorflow as tf

    found = []
    for path in sorted(run_dir.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if not value.tag.startswith("_hparams"):
                    found.append((value.tag, event.step))
    return found


def interrupt(data_dir, run_dir, number: signal.Signals, words) -> int:
    """Starts training, signals it at a random moment after its first checkpoint.

    A checkpoint that is there before tells nothing: the process may still be importing.
    """
    words = [*TINY, *EXACT, *words, f"--data_dir={data_dir}"]
    return stop_after_save(run_dir, number, words, wait=random.uniform(0, 0.3))


def stop_after_save(
    run_dir, number: signal.Signals, words, *, wait: float, env=None
) -> int:
    """Trains by `words` and signals it `wait` seconds after its next checkpoint."""
    before = checkpoints.list_folders(run_dir / "checkpoints")
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.main", *words, f"--run_dir={run_dir}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=env,
    )
    limit = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < limit:
        if checkpoints.list_folders(run_dir / "checkpoints") != before:
            time.sleep(wait)
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
