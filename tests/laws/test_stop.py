"""A signal saves, and what resumes from there equals what was never stopped."""

import signal

import pytest

from tests.support.commands import BLOCK, run_trainer
from tests.support.resumed_runs import EXACT, assert_equal_runs, interrupt
from trainer.rundir import checkpoints

LONG = [*BLOCK, "--train_steps=48", "--log_every_steps=20", "--eval_every_epochs=0.5"]


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    run_trainer(data_dir, path, *EXACT, *LONG, check=True)
    return path


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
    data_dir, tmp_path, whole, number, code
):
    cut = tmp_path / "cut"
    assert interrupt(data_dir, cut, number, LONG) == code
    kept = checkpoints.list_folders(cut / "checkpoints")[0]
    assert checkpoints.load(kept).step > 0
    run_trainer(data_dir, cut, *EXACT, *LONG, check=True)
    assert_equal_runs(whole, cut)
