"""Laws of launch.local, with real processes: nothing is lost, left over or unnamed."""

import hashlib
import json
import os
import pathlib
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from launch.supervisor.job_supervisor import Supervisor
from tests.support.commands import ROOT
from tests.support.launch_jobs import CORES, plan


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


def test_how_far_workers_are_is_shown_of_one_and_logged_of_all(tmp_path, capfd):
    path = tmp_path / "run"
    code = (
        f"import json, os, pathlib; path = pathlib.Path({str(path)!r})\n"
        "path.mkdir(exist_ok=True); (path / 'config.json').touch()\n"
        "index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
        "print('a line', index)\n"
        "for i in range(30): print(f'training ({i // 60}:{i:02} so far)')\n"
        "print('test: 1 of 2 images  ETA 0:01  1 images/s')\n"
        "raise SystemExit(index)"
    )
    Supervisor(plan(path, train=(sys.executable, "-c", code))).run()
    shown, said = capfd.readouterr()
    assert "[worker-1] a line 1" in shown and "[worker-0] a line 0" in shown
    assert shown.count("[worker-0]") == 32 and shown.count("[worker-1]") == 1
    for index in (0, 1):
        log = (path / "logs" / f"worker-{index}.log").read_text()
        assert log.count("so far") == 30 and log.count("ETA") == 1
    assert "  a line 1\n  test: 1 of 2" in said


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


def test_ctrl_c_as_the_data_gets_ready_starts_no_worker(tmp_path, capfd):
    code = (
        "import os, signal; signal.signal(2, signal.SIG_IGN); os.kill(os.getppid(), 2)"
    )
    ready = (sys.executable, "-c", code)
    run_dir = tmp_path / "run"
    assert Supervisor(plan(run_dir, "--steps=3", prepare=ready)).run() == 130
    assert not run_dir.exists()


def test_ctrl_c_while_a_worker_starts_is_one_line(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    site = tmp_path / "sitecustomize.py"  # what Python imports before the trainer
    site.write_text(f"import os, signal\nos.kill({os.getpid()}, signal.SIGINT)\n")
    site.write_text(site.read_text() + "import time\ntime.sleep(0.3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    main = (sys.executable, "-m", "trainer.main")
    assert Supervisor(plan(tmp_path / "run", train=main, workers=1)).run() == 130
    captured = capfd.readouterr()
    assert "trainer.main: stopped by SIGINT" in captured.out
    assert "Traceback" not in captured.out + captured.err


LAUNCHER = """
import sys
sys.path[:0] = {paths!r}
from tests.support.launch_jobs import plan
from launch.supervisor.job_supervisor import Supervisor
sys.exit(Supervisor(plan({run_dir!r}, *{arguments!r})).run())
"""


def launcher(run_dir, *arguments):
    """Its command line."""
    root = str(ROOT)
    code = LAUNCHER.format(paths=[root], run_dir=str(run_dir), arguments=arguments)
    return [sys.executable, "-c", code]


def start(run_dir, *arguments):
    """The supervisor as a process of its own, once a step is done."""
    process = subprocess.Popen(
        launcher(run_dir, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait(lambda: (run_dir / "checkpoint.json").exists())
    return process


def wait(condition, secs=20.0):
    end = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (10, 138), (signal.SIGHUP, 129)],
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


@pytest.mark.parametrize(
    "seed",
    [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))],
)
def test_random_kills_and_stops_change_nothing(tmp_path, seed):
    """kill -9 (even seeds) and kill -STOP of a random worker at a random moment."""
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


def test_whoever_reads_may_leave(tmp_path):
    """`| head`: the job goes on, and its logs have what was not shown."""
    run_dir = tmp_path / "run"
    command = shlex.join(launcher(run_dir, "--steps=9", "--lines=50"))
    text = f"({command}; echo $? > {tmp_path}/code) 2>&1 | head -1"
    subprocess.run(["bash", "-c", text], check=True, timeout=60)
    wait((tmp_path / "code").exists)
    wait(lambda: (tmp_path / "code").read_text() == "0\n")
    assert final(run_dir) == expected(9)
    assert "step 9, line 49" in (run_dir / "logs" / "worker-1.log").read_text()


def test_whoever_reads_may_stop_reading(tmp_path):
    """Ctrl-S, a pager: far more than a pipe holds, and nobody takes it."""
    run_dir = tmp_path / "run"
    command = launcher(run_dir, "--steps=9", "--lines=200")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.wait(timeout=60) == 0
    assert final(run_dir) == expected(9)
    process.communicate()


def test_a_closed_terminal_stops_the_job_after_a_checkpoint(tmp_path):
    """The kernel sends SIGHUP, and every write to the terminal fails."""
    run_dir = tmp_path / "run"
    pid, terminal = os.forkpty()
    if pid == 0:
        command = launcher(run_dir, "--steps=10000", "--lines=1")
        os.execv(command[0], command)
    wait((run_dir / "checkpoint.json").exists)
    os.close(terminal)
    wait(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    assert not processes(str(run_dir))
    step = json.loads((run_dir / "checkpoint.json").read_text())["step"]
    assert Supervisor(plan(run_dir, f"--steps={step + 3}")).run() == 0
    assert final(run_dir) == expected(step + 3)


def test_nohup_outlives_its_terminal(tmp_path):
    run_dir = tmp_path / "run"
    command = ["nohup", *launcher(run_dir, "--steps=40")]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait((run_dir / "checkpoint.json").exists)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 0
    assert final(run_dir) == expected(40)


# Root may read what has no permissions, unless it gives that up.
OBEYS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux")
@pytest.mark.parametrize("lost", [False, True])
def test_a_storage_that_comes_back_is_waited_for(tmp_path, lost):
    """Out of reach while workers train, and also while they have to start again."""
    folder = tmp_path / "mount"
    run_dir = folder / "run"
    run_dir.mkdir(parents=True)
    command = launcher(run_dir, "--steps=100000", "--lines=1")
    process = subprocess.Popen(
        [*(OBEYS if os.geteuid() == 0 else []), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait((run_dir / "checkpoint.json").exists)
    ids = [worker(run_dir, index) for index in range(2)]
    folder.chmod(0)
    if lost:
        os.kill(ids[1], signal.SIGKILL)
    time.sleep(2.5)
    assert process.poll() is None
    folder.chmod(0o755)
    if lost:
        wait(lambda: len(processes(f"--run_dir={run_dir}")) == 2)
    else:
        assert [worker(run_dir, index) for index in range(2)] == ids
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 143, output
    assert "Traceback" not in output
    assert ("cannot be reached" in output) == lost
