"""Laws of launch.local, with real processes: nothing is lost, left over or unnamed."""

import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from launch.supervisor import Plan, Supervisor
from launch.training import Training

FAKE = (sys.executable, str(pathlib.Path(__file__).with_name("launch_fake_trainer.py")))
CORES = sorted(os.sched_getaffinity(0))


def plan(run_dir, *arguments, workers=2, **changes):
    return Plan(
        training=Training.read(arguments, default_run_dir=str(run_dir)),
        cores=[[CORES[i % len(CORES)]] for i in range(workers)],
        gpus=[[] for _ in range(workers)],
        **{
            "train": FAKE,
            "prepare": None,
            "settle_secs": 4.0,
            "first_backoff_secs": 0.05,
            **changes,
        },
    )


def final(run_dir):
    return json.loads((run_dir / "result.json").read_text())


def expected(steps):
    word = ""
    for step in range(1, steps + 1):
        word = hashlib.sha256(f"{word}{step}".encode()).hexdigest()
    return {"step": steps, "hash": word}


def processes(text):
    """Running processes whose command line or environment names `text`."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            about = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if text.encode() in about and state != "Z" and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


def test_a_job_ends_with_zero_and_its_result(tmp_path, capfd):
    run_dir = tmp_path / "run"
    assert Supervisor(plan(run_dir, "--steps=7")).run() == 0
    assert final(run_dir) == expected(7)
    out = capfd.readouterr().out
    assert f"[worker-0] cores {CORES[:1]} multi_worker" in out
    assert "cores" in (run_dir / "logs" / "worker-1.log").read_text()


def test_a_dead_worker_is_named_and_the_result_is_the_same(tmp_path, capfd):
    run_dir = tmp_path / "run"
    faulty = plan(run_dir, "--steps=17", "--fault=1:12:orphan")
    assert Supervisor(faulty).run() == 0
    assert final(run_dir) == expected(17)
    err = capfd.readouterr().err
    assert "worker-1 died by signal 9 (SIGKILL); memory may have run out" in err
    assert "restart 1 of 3" in err
    assert not processes(str(run_dir))


@pytest.mark.parametrize("code", [175, 138, 143])
def test_codes_that_a_restart_mends(tmp_path, code):
    run_dir = tmp_path / "run"
    faulty = plan(run_dir, "--steps=9", f"--fault=1:7:{code}", settle_secs=2.0)
    assert Supervisor(faulty).run() == 0
    assert final(run_dir) == expected(9)


@pytest.mark.parametrize("code", [1, 77])
def test_codes_that_no_restart_mends(tmp_path, capfd, code):
    run_dir = tmp_path / "run"
    faulty = plan(run_dir, "--steps=50", f"--fault=1:3:{code}")
    assert Supervisor(faulty).run() == code
    err = capfd.readouterr().err
    assert f"worker-1 exited {code}" in err
    assert f"about to exit {code}" in err
    assert "restart 1" not in err


def test_restarts_are_counted(tmp_path, capfd):
    run_dir = tmp_path / "run"
    faulty = plan(run_dir, "--steps=9", "--fault=0:1:175", max_restarts=0)
    assert Supervisor(faulty).run() == 175
    assert "gave up after 0 restarts" in capfd.readouterr().err


def test_a_stuck_worker_is_named_with_its_stack(tmp_path, capfd):
    run_dir = tmp_path / "run"
    alone = plan(run_dir, "--steps=9", "--fault=0:6:hang", workers=1, hang_secs=1.0)
    assert Supervisor(alone).run() == 0
    assert final(run_dir) == expected(9)
    captured = capfd.readouterr()
    assert "worker-0 is stuck, no progress for" in captured.err
    assert "in fail" in captured.out  # the function it was stuck in


def test_a_worker_that_never_begins_is_named(tmp_path, capfd):
    run_dir = tmp_path / "run"
    faulty = plan(run_dir, "--steps=9", "--fault=1:0:mute", hang_secs=1.0)
    assert Supervisor(faulty).run() == 0
    assert final(run_dir) == expected(9)
    assert "worker-1 is stuck" in capfd.readouterr().err


def test_without_any_heartbeat_nobody_is_stuck(tmp_path):
    silent = (sys.executable, "-c", "import time; time.sleep(2)")
    assert Supervisor(plan(tmp_path / "run", train=silent, hang_secs=1.0)).run() == 0


def test_wrong_usage_is_two_lines_and_leaves_nothing(tmp_path, capfd):
    run_dir = tmp_path / "runs" / "new"
    code = "import sys; print('what, got;\\nremedy', file=sys.stderr); sys.exit(2)"
    script = (sys.executable, "-c", code)
    assert Supervisor(plan(run_dir, train=script)).run() == 2
    assert capfd.readouterr().err == "what, got;\nremedy\n"
    assert list(tmp_path.iterdir()) == []


def test_nothing_starts_when_the_data_cannot_be_prepared(tmp_path, capfd):
    failing = (sys.executable, "-c", "import sys; sys.exit('no such data set')")
    assert Supervisor(plan(tmp_path / "run", "--steps=3", prepare=failing)).run() == 1
    captured = capfd.readouterr()
    assert "no such data set" in captured.err
    assert "worker-0" not in captured.out


LAUNCHER = """
import sys
sys.path[:0] = {paths!r}
from tests.test_launch_supervisor import plan
from launch.supervisor import Supervisor
sys.exit(Supervisor(plan({run_dir!r}, *{arguments!r})).run())
"""


def start(run_dir, *arguments):
    """The supervisor as a process of its own, once a step is done."""
    root = str(pathlib.Path(__file__).parents[1])
    code = LAUNCHER.format(paths=[root], run_dir=str(run_dir), arguments=arguments)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait(lambda: (run_dir / "checkpoint.json").exists())
    return process


def wait(condition, secs=20.0):
    end = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (10, 138)]
)
def test_signals_stop_the_job_after_a_checkpoint(tmp_path, number, code):
    run_dir = tmp_path / "run"
    process = start(run_dir, "--steps=10000")
    process.send_signal(number)
    output = process.communicate(timeout=20)[0].decode()
    assert process.returncode == code, output
    assert "passed on to all workers" in output
    assert not processes(str(run_dir))
    step = json.loads((run_dir / "checkpoint.json").read_text())["step"]
    assert Supervisor(plan(run_dir, f"--steps={step + 3}")).run() == 0
    assert final(run_dir) == expected(step + 3)


def test_workers_die_with_a_killed_launcher(tmp_path):
    run_dir = tmp_path / "run"
    process = start(run_dir, "--steps=10000")
    assert processes(f"--run_dir={run_dir}")
    process.kill()
    process.communicate()
    wait(lambda: not processes(f"--run_dir={run_dir}"))


@pytest.mark.parametrize("seed", range(6))
def test_random_kills_and_stops_change_nothing(tmp_path, seed):
    """kill -9 and kill -STOP of a random worker at a random moment."""
    run_dir, dice = tmp_path / "run", random.Random(seed)
    number = [signal.SIGKILL, signal.SIGSTOP][seed % 2]
    victim = dice.randrange(2)
    process = start(run_dir, "--steps=60")
    time.sleep(dice.uniform(0, 0.5))
    os.kill(worker(run_dir, victim), number)
    output = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 0, output
    assert final(run_dir) == expected(60)
    blame = "died by signal 9" if number == signal.SIGKILL else "is stopped (SIGSTOP)"
    assert f"worker-{victim} {blame}" in output
    assert not processes(str(run_dir))


def worker(run_dir, index):
    """Process id of the running worker `index`."""
    task = f'"index": {index}}}'.encode()
    (pid,) = (
        pid
        for pid in processes(f"--run_dir={run_dir}")
        if task in pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    )
    return pid
