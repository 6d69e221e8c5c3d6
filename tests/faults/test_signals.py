"""Signals in every phase: the right exit code, in time, and nothing lost."""

import json
import pathlib
import signal
import subprocess
import time

import pytest

from tests.support import jobs
from trainer.contract import HEARTBEAT_VARIABLE as VARIABLE
from trainer.contract import STOPS
from trainer.rundir import checkpoints

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
GRACE_SECS = 30
LONG = ["--train_steps=3000", "--eval_every_epochs=0.2", "--keep_checkpoints=3"]
SAVING = ["--checkpoint_every_steps=1", "--steps_per_call=1"]
CASES = [
    ("start", signal.SIGTERM),
    ("start", signal.SIGINT),
    ("import", signal.SIGTERM),
    ("import", signal.SIGUSR1),
    ("import", signal.SIGHUP),
    ("compile", signal.SIGTERM),
    ("compile", signal.SIGUSR1),
    ("train", signal.SIGINT),
    ("train", signal.SIGUSR1),
    ("train", signal.SIGHUP),
    ("evaluate", signal.SIGTERM),
    ("save", signal.SIGTERM),
    ("save", signal.SIGINT),
    ("save", signal.SIGUSR1),
]
counts = {"signals": 0, "late": 0, "wrong codes": 0}


def handles(process: subprocess.Popen, number: int) -> bool:
    """Whether the process has taken the signal over, as the kernel says."""
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    (mask,) = [x.split()[1] for x in text.splitlines() if x.startswith("SigCgt")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def phase(sign: pathlib.Path) -> str:
    try:
        return json.loads(sign.read_bytes())["phase"]
    except (OSError, ValueError):
        return ""


@pytest.mark.parametrize(("when", "number"), CASES)
def test_the_code_is_right_and_in_time(data_dir, tmp_path, monkeypatch, when, number):
    sign, run_dir = tmp_path / "sign", tmp_path / "run"
    monkeypatch.setenv(VARIABLE, str(sign))
    words = [*LONG, *(SAVING if when == "save" else jobs.EXACT)]
    (process,) = jobs.launch("one", data_dir, run_dir, *words)
    if when == "import":  # TensorFlow is being imported
        jobs.wait_until(lambda: handles(process, signal.SIGUSR1), [process])
        time.sleep(1)
    else:
        assert jobs.wait_until(lambda: phase(sign) == when, [process])
    sent = time.monotonic()
    process.send_signal(number)
    ((code, said),) = jobs.finish([process])
    took = time.monotonic() - sent
    counts["signals"] += 1
    counts["late"] += took > GRACE_SECS + 1
    counts["wrong codes"] += code != STOPS[number]
    print(f"\n{number.name} in {when}: {code} after {took:.1f} s; {counts}")
    assert code == STOPS[number], said
    assert took <= GRACE_SECS + 1
    assert "Traceback" not in said
    if when in ("train", "evaluate", "save"):
        kept = checkpoints.load_latest(run_dir / "checkpoints", skipped=print)
        assert f"after step {kept.step}, saved" in said


def test_a_second_signal_ends_at_once(data_dir, tmp_path):
    words = [*LONG, "--steps_per_call=1000", "--log_every_steps=1000"]
    words += [
        "--eval_every_epochs=1000",
        "--model_kwargs=width=1",
        "--global_batch=512",
    ]
    (process,) = jobs.launch("one", data_dir, tmp_path / "run", *words)
    assert jobs.wait_until((tmp_path / "run" / "config.json").exists, [process])
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    ((code, said),) = jobs.finish([process])
    assert code == 143, said
    assert time.monotonic() - sent < 10
