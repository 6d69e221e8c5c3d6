"""A disk that is full or gone: said, tried again, and 175 only at the end."""

import os
import subprocess
import time

import pytest

from tests.support import jobs
from tests.support.commands import result
from tests.support.resumed_runs import assert_equal_runs, events, lines
from trainer.rundir import checkpoints

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
WORDS = ["--checkpoint_every_steps=20", "--log_every_steps=1", "--keep_checkpoints=1"]
WORDS += ["--train_steps=700", "--eval_every_epochs=1"]
DISK_BYTES = 3_000_000


@pytest.fixture
def disk(tmp_path):
    """A file system of three megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"no right to mount a small file system: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def fill(path) -> None:
    """Takes all that is free."""
    try:
        with open(path, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    ((code, said),) = jobs.finish(jobs.launch("one", data_dir, path, *WORDS))
    assert code == 0, said
    return path


def test_a_disk_full_for_a_while_changes_nothing(data_dir, disk, whole):
    run_dir = disk / "run"
    (process,) = jobs.launch("one", data_dir, run_dir, *WORDS)
    assert jobs.wait_until(lambda: jobs.newest_step(run_dir) >= 20, [process])
    fill(disk / "ballast")
    step = jobs.newest_step(run_dir)
    time.sleep(1.5)
    assert process.poll() is None
    kept = checkpoints.load_latest(run_dir / "checkpoints", skipped=print)
    assert kept.step >= step
    os.remove(disk / "ballast")
    ((code, said),) = jobs.finish([process])
    assert code == 0, said
    assert "No space left on device" in said
    assert "trying again later" in said
    assert_equal_runs(whole, run_dir)


def test_a_disk_full_to_the_end_is_175_and_the_resume_exact(data_dir, disk, whole):
    run_dir = disk / "run"
    (process,) = jobs.launch("one", data_dir, run_dir, *WORDS)
    assert jobs.wait_until(lambda: jobs.newest_step(run_dir) >= 20, [process])
    fill(disk / "ballast")
    ((code, said),) = jobs.finish([process])
    assert code == 175, said
    assert "make room" in said
    assert "Traceback" not in said
    assert checkpoints.load_latest(run_dir / "checkpoints", skipped=print)
    os.remove(disk / "ballast")
    ((code, said),) = jobs.finish(jobs.launch("one", data_dir, run_dir, *WORDS))
    assert code == 0, said
    assert "resumed" in said
    assert_equal_runs(whole, run_dir)


def test_a_vanished_directory_is_175_and_the_resume_exact(data_dir, tmp_path, whole):
    run_dir, away = tmp_path / "run", tmp_path / "away"
    (process,) = jobs.launch("one", data_dir, run_dir, *WORDS)
    assert jobs.wait_until(lambda: jobs.newest_step(run_dir) >= 20, [process])
    os.rename(run_dir, away)
    ((code, said),) = jobs.finish([process])
    assert code == 175, said
    assert "the previous one is kept" in said
    assert "Traceback" not in said
    assert not run_dir.exists()
    os.rename(away, run_dir)
    ((code, said),) = jobs.finish(jobs.launch("one", data_dir, run_dir, *WORDS))
    assert code == 0, said
    assert_equal_runs(whole, run_dir)
    assert len(lines(run_dir)) > 100
    assert len(events(run_dir)) > 100
    assert result(run_dir)["finished"]
