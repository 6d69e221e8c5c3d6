"""One stage of a trial: its processes, and when they are ended."""

import signal
import time

from launch.study.trial_plan import TrialTask
from launch.study.trial_run import TrialPlace, TrialPrograms, TrialRun
from tests.support.launch_jobs import CORES
from tests.support.studies import define, record


def test_a_stopped_trial_has_the_grace_period_of_its_own_flags(tmp_path):
    """Also in a study that goes on without naming them again."""
    now, ready = [0.0], tmp_path / "ready"
    deaf = ("sh", "-c", f"trap '' TERM; touch {ready}; sleep 60; exit")
    run = TrialRun(
        TrialTask(number=0, stage=0, pause_at=None, limits={}),
        record(0, state="running"),
        define(trainer_flags=("--dataset=digits", "--grace_secs=120")),
        TrialPlace(
            run_dir=tmp_path / "run",
            scratch=tmp_path,
            cores=CORES[:1],
            gpus=[],
            hang_secs=300.0,
            max_restarts=0,
            programs=TrialPrograms(train=deaf),
        ),
        clock=lambda: now[0],
        say=print,
    )
    try:
        run.poll()
        while not ready.exists():
            time.sleep(0.01)
        run.stop(signal.SIGTERM)
        for now[0], lives in ((134.0, True), (136.0, False)):
            run.poll()
            assert run.has_process == lives
    finally:
        run.kill()
