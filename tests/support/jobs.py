"""Jobs of seconds to be killed: one process, two replicas, or two workers."""

import os
import pathlib
import signal
import subprocess
import sys
import time

from tests.support import multi_worker
from tests.support.commands import ROOT, TINY
from trainer.rundir import checkpoints

TWO = ["--strategy=mirrored", "--logical_devices=2", "--threads=2"]
PLACES = {"one": ["--threads=2"], "mirrored": TWO, "workers": []}
EXACT = ["--checkpoint_every_steps=7", "--ema_decay=0.9", "--model_kwargs=dropout=0.2"]


def launch(place: str, data_dir, run_dir, *words: str) -> list[subprocess.Popen]:
    """Starts the processes of a job, their output discarded or piped by workers."""
    if place == "workers":
        return multi_worker.start(data_dir, run_dir, *words, "--hang_secs=15")
    where = [f"--data_dir={data_dir}", f"--run_dir={run_dir}", *PLACES[place]]
    started = subprocess.Popen(
        [sys.executable, "-m", "trainer.main", *TINY, *words, *where],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "TF_CONFIG"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return [started]


def finish(processes) -> list[tuple[int, str]]:
    """Exit codes and what was said."""
    return multi_worker.finish(processes, 180)


def kill(processes) -> bool:
    """Kills all at once; whether one of them was still at work."""
    living = [p for p in processes if p.poll() is None]
    for process in living:
        process.send_signal(signal.SIGKILL)
    finish(processes)
    return any(p.returncode == -signal.SIGKILL for p in living)


def wait_until(condition, processes, limit_secs: float = 120) -> bool:
    """Whether it came true before a process ended."""
    limit = time.monotonic() + limit_secs
    while time.monotonic() < limit:
        if condition():
            return True
        if any(p.poll() is not None for p in processes):
            return False
        time.sleep(0.002)
    raise AssertionError(f"not within {limit_secs} s")


def newest_step(run_dir: pathlib.Path) -> int:
    """Of the folders named like checkpoints; 0 without any."""
    found = checkpoints.list_folders(run_dir / "checkpoints")
    return int(found[0].name.removeprefix("step-")) if found else 0


def saving(run_dir: pathlib.Path) -> bool:
    """Whether a checkpoint is being written now."""
    folder = run_dir / "checkpoints"
    return folder.is_dir() and any(
        p.name.startswith(".step-") for p in folder.iterdir()
    )
