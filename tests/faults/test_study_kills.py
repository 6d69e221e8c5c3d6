"""A study of real trainings that is killed has the table of one never killed."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.support.commands import ROOT

KILLS, TRIALS = 30, 24
GONE_SECS = 10  # a trial ends with its supervisor within these
TRAINING = ["--dataset=digits", "--augment=crop", "--model_kwargs=width=0.25"]
TRAINING += ["--epochs=2", "--global_batch=32", "--checkpoint_every_steps=10"]


def start(study_dir: pathlib.Path, data_dir: pathlib.Path) -> subprocess.Popen:
    space = ["--try", f"learning_rate=log:0.001:0.02/{TRIALS // 2}", "--seeds=2"]
    words = [f"--study_dir={study_dir}", "--cores_per_trial=1", "--max_restarts=40"]
    with open(study_dir.with_suffix(".log"), "a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "launch.sweep", *words, *space, "--"]
            + [*TRAINING, f"--data_dir={data_dir}"],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )


def trials_of(supervisor: int) -> list[psutil.Process]:
    try:
        children = psutil.Process(supervisor).children()
        return [child for child in children if "trainer.main" in child.cmdline()]
    except psutil.Error:
        return []


def kill(supervisor: subprocess.Popen, draw: random.Random) -> None:
    """Kills a trial or the supervisor, whose trials have to end with it."""
    trials = trials_of(supervisor.pid)
    if trials and draw.random() < 0.5:
        os.kill(trials[0].pid, signal.SIGKILL)
        return
    supervisor.kill()
    supervisor.wait()
    assert psutil.wait_procs(trials, GONE_SECS)[1] == []


def table(study_dir: pathlib.Path) -> dict:
    return json.loads((study_dir / "trials.json").read_text())


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_a_study_killed_thirty_times_has_the_table_of_one_never_killed(
    data_dir, tmp_path
):
    whole = start(tmp_path / "whole", data_dir)
    draw, kills, code = random.Random(7), 0, None
    while code != 0:
        running = start(tmp_path / "killed", data_dir)
        while kills < KILLS and running.poll() is None:
            time.sleep(draw.uniform(3, 14))
            if running.poll() is None:
                kill(running, draw)
                kills += 1
        code = running.wait()
        said = (tmp_path / "killed.log").read_text()[-500:]
        assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL), said
    assert whole.wait() == 0 and kills == KILLS
    expected, found = table(tmp_path / "whole"), table(tmp_path / "killed")
    assert found["table_sha256"] == expected["table_sha256"]
    assert len(found["trials"]) == len(expected["trials"]) == TRIALS
    assert {trial["state"] for trial in found["trials"]} == {"complete"}
