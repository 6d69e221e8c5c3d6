"""What killed writers left is removed by who comes next, and by nobody too early."""

import os
import signal
import subprocess
import sys
import time

import pytest

from eval.reports import output_folder
from export.artifact import artifact
from tests.support.commands import ROOT, TINY
from tests.support.run_directories import begin
from trainer import files, system
from trainer.distributed import heartbeat
from trainer.errors import InvalidInput
from trainer.files import OLD_SECS
from trainer.rundir import checkpoints, checks, layout

# Dies, as by kill -9, between writing a file beside its name and renaming it.
KILLED = """
import os, pathlib, sys
from trainer import files
os.replace = lambda *_: os.kill(os.getpid(), 9)
files.write_bytes(pathlib.Path(sys.argv[1]), b"half")
"""


def killed(path) -> None:
    """Leaves what a process leaves that is killed while it writes `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert [name for name in hidden(path.parent) if name.startswith(f".{path.name}.")]


def hidden(folder) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


def test_a_dead_writer_of_this_machine_is_swept_and_a_living_one_is_not(tmp_path):
    killed(tmp_path / "a")
    ours = files.temporary_path(tmp_path / "b")
    ours.touch()
    parent = ours.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    parent = parent.replace(f"-{system.process_start(os.getpid())}-", "-7-")
    (tmp_path / parent).touch()  # its number is taken by another process now
    (tmp_path / ".profile").touch()
    (tmp_path / ".x.12").touch()
    files.remove_leftovers(tmp_path)
    assert sorted(hidden(tmp_path)) == sorted([ours.name, ".profile", ".x.12"])
    living = ours.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    living = living.replace(
        f"-{system.process_start(os.getpid())}-",
        f"-{system.process_start(os.getppid())}-",
    )
    (tmp_path / living).touch()
    files.remove_leftovers(tmp_path)
    assert living in hidden(tmp_path)


def test_a_writer_that_nobody_sees_is_given_a_day(tmp_path):
    name = ".calibration.json.tmp-00000000-1-1-1"  # of no machine that there is
    (tmp_path / name).touch()
    files.remove_leftovers(tmp_path)
    assert hidden(tmp_path) == [name]
    then = time.time() - OLD_SECS - 60
    os.utime(tmp_path / name, (then, then))
    files.remove_leftovers(tmp_path)
    assert hidden(tmp_path) == []


def test_the_owner_of_a_run_need_not_see_who_wrote_what_only_it_may_write(tmp_path):
    for name in ("result.json", "config.json", "tensorboard/events.out.tfevents.1.h"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        (path.parent / f".{path.name}.tmp-00000000-1-1-1").touch()
        (path.parent / f".{path.name}.4711").touch()  # as it was called once
    other = tmp_path / ".calibration.json.tmp-00000000-1-1-1"
    other.touch()  # a report may be at work
    layout.Run(tmp_path).sweep()
    assert hidden(tmp_path) == [other.name]
    assert hidden(tmp_path / "tensorboard") == []


def test_reports_exports_signs_and_the_link_sweep_their_folders(tmp_path):

    killed(tmp_path / "report" / "report.json")
    output_folder.write_folder(tmp_path / "report", {"report.json": b"{}"})
    assert hidden(tmp_path / "report") == []
    killed(tmp_path / "export" / "bench.json")
    with artifact.staging_folder(tmp_path / "export"):
        pass
    assert hidden(tmp_path / "export") == []
    killed(tmp_path / "workers" / "0.json")
    heartbeat.Heartbeat(tmp_path / "workers", 0, 2, 60).write("start")
    assert os.listdir(tmp_path / "workers") == ["0.json"]
    killed(tmp_path / "runs" / "latest")
    layout.update_latest(begin(tmp_path / "runs" / "a"))
    assert hidden(tmp_path / "runs") == [layout.LINKS]


def test_a_killed_probe_is_no_content_of_a_run_directory(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    files.temporary_path(run_dir / "probe").mkdir()
    checks.check_directory(run_dir)
    (run_dir / "thesis.txt").touch()
    with pytest.raises(InvalidInput, match="not empty"):
        checks.check_directory(run_dir)


@pytest.mark.slow
def test_a_trainer_sweeps_its_run(data_dir, tmp_path):
    run_dir = tmp_path / "runs" / "a"
    words = [*TINY, f"--data_dir={data_dir}", f"--run_dir={run_dir}"]
    command = [sys.executable, "-m", "trainer.main", *words]
    begun = subprocess.Popen([*command, "--checkpoint_every_steps=2"], cwd=ROOT)
    limit = time.monotonic() + 120
    while not checkpoints.list_folders(run_dir / "checkpoints"):
        assert time.monotonic() < limit
        time.sleep(0.02)
    begun.kill()
    begun.wait()
    for name in ("result.json", "metrics.jsonl", "workers/0.json"):
        killed(run_dir / name)
    subprocess.run(command, cwd=ROOT, check=True)
    found = (tmp_path / "runs").rglob(".*")
    assert [path.name for path in found] == [layout.LINKS]
