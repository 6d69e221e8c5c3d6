"""A signal saves, and what resumes from there equals what was never stopped."""

import json
import signal

import pytest

from tests.support.commands import run_trainer
from tests.support.resumed_runs import SINGLE, assert_equal_runs, interrupt
from trainer.rundir import checkpoints


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, 138, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_its_resume_is_exact(
    data_dir, tmp_path, single_run, number, code
):
    cut = tmp_path / "cut"
    assert interrupt(data_dir, cut, number, SINGLE) == code
    kept = checkpoints.list_folders(cut / "checkpoints")[0]
    assert checkpoints.load(kept).step > 0
    run_trainer(data_dir, cut, *SINGLE, check=True)
    assert_equal_runs(single_run, cut)


@pytest.mark.slow  # a pause is the stop of a signal at a step
def test_a_run_that_paused_and_went_on_is_the_run_that_never_paused(
    data_dir, tmp_path, single_run
):
    """It pauses again where it is started again with the same fraction."""
    cut = tmp_path / "cut"
    for _ in range(2):
        done = run_trainer(data_dir, cut, *SINGLE, "--pause_at=0.4", check=True)
        assert "paused after step" in done.stderr
        assert "without --pause_at goes on" in done.stderr
        assert not (cut / "result.json").exists()
    (kept,) = checkpoints.list_folders(cut / "checkpoints")[:1]
    last = (cut / "metrics.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["split"] == "validation"
    assert json.loads(last)["step"] == checkpoints.load(kept).step < 48
    run_trainer(data_dir, cut, *SINGLE, check=True)
    assert_equal_runs(single_run, cut)
