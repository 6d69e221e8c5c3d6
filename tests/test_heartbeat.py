"""Signs of life: who waits with reason is left alone, who hangs is ended with 175."""

import json
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from trainer.heartbeat import LOST, WAITED_FOR, Heartbeat

WAITING = """
import pathlib, sys, time
from trainer.heartbeat import Heartbeat
beats = Heartbeat(pathlib.Path(sys.argv[1]), 1, 2, hang_secs=1.0)
beats.beat("train", 5)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("phase", "left_alone"), [*((p, True) for p in WAITED_FOR), ("train", False)]
)
def test_a_worker_waits_for_a_chief_that_is_busy(tmp_path, phase, left_alone):
    command = [sys.executable, "-c", WAITING, str(tmp_path)]
    worker = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 3
    while time.monotonic() < end and worker.poll() is None:
        sign = {"step": 5, "phase": phase, "time": time.time()}
        (tmp_path / "new").write_text(json.dumps(sign))
        (tmp_path / "new").replace(tmp_path / "0.json")
        time.sleep(0.1)
    assert (worker.poll() is None) is left_alone
    assert worker.wait(timeout=20) == LOST  # nobody gives signs any more
    assert "no progress in phase train, step 5" in worker.stderr.read()


def test_a_sign_that_cannot_be_left_ends_nothing(tmp_path):
    beats = Heartbeat(tmp_path / "run" / "workers", 0, 2, hang_secs=1000)
    beats.beat("train", 1)
    (tmp_path / "run").rename(tmp_path / "moved")
    beats.beat("train", 2)
    assert not (tmp_path / "run").exists()
