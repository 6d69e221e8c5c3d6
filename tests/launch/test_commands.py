"""Every command: help, wrong usage, start-up time, and what it imports."""

import os
import subprocess
import sys
import time

import pytest

from launch import kubernetes, local, slurm, sweep, vertex, worker
from launch.platforms import slurm as slurm_platform
from launch.platforms import vertex as vertex_platform
from tests.support.launch_jobs import CLUSTER, SLURM, VERTEX

COMMANDS = {
    "local": local,
    "worker": worker,
    "slurm": slurm,
    "kubernetes": kubernetes,
    "vertex": vertex,
    "sweep": sweep,
}
DEFINITIONS = {
    "local": local.define,
    "worker": worker.define,
    "slurm": slurm_platform.define,
    "kubernetes": kubernetes.define,
    "vertex": vertex_platform.define,
    "sweep": sweep.define,
}
BAD = [
    ["local", "--worker=2"],
    ["local", "--workers=0"],
    ["local", "--workers=65"],
    ["local", "--workers=two"],
    ["local", "--workers"],
    ["local", "--max_restarts=-1"],
    ["local", "--hang_secs=0"],
    ["local", "--hang_secs=nan"],
    ["local", "--hang_secs=inf"],
    ["local", "--cores_per_worker=0"],
    ["local", "--workers=2", "--cores_per_worker=4096"],
    ["local", "--dataset=digits"],
    ["local", "digits"],
    ["local", "--flagfile=/nowhere/at/all"],
    ["local", "--", "--strategy=mirrored"],
    ["local", "--", "--run_dir="],
    ["local", "--", "--grace_secs=0"],
    ["local", "--", "--flagfile=/nowhere/at/all"],
    ["local", "--", "--run_dir=/proc/x"],
    ["local", "--", "--run_dir=/dev/null/x"],
    ["local", "--", "--run_dir=" + "a" * 300],
    ["local", "--", "--", "--epochs=3"],
    ["local", "--", "--run_dir=/\udcff"],
    ["worker"],
    ["worker", "--peers_secs=0"],
    ["worker", "--print_config=maybe"],
    ["slurm"],
    ["slurm", "--name=A_b"],
    [*SLURM, "--time=tomorrow"],
    [*SLURM, "--time=１２"],
    [*SLURM, "--env=A=\udcff"],
    [*SLURM, "--setup=echo \udcff"],
    [*SLURM, "--", "--data_dir=/\udcff"],
    [*SLURM, "--", "--resume=never"],
    [*SLURM, "--memory=lots"],
    [*SLURM, "--partition=a b"],
    [*SLURM, "--volume=/a:/b"],
    [*SLURM, "--image=i", "--volume=a"],
    [*SLURM, "--env=A"],
    [*SLURM, "--env=A=1", "--env=A=2"],
    [*SLURM, "--env=TF_CONFIG={}"],
    [*CLUSTER, "--env=SLURM_PROCID=1"],
    [*VERTEX, "--env=LAUNCH_JOB=a"],
    [*SLURM, "--setup= "],
    [*SLURM, "--", "--strategy=one_device"],
    ["kubernetes"],
    ["kubernetes", "--kind=pod"],
    ["kubernetes", "--kind=job", "--name=a", "--image=i"],
    ["kubernetes", "--kind=job", "--name=a", "--volume=a:/b"],
    [*CLUSTER, "--name=" + "a" * 41],
    [*CLUSTER, "--image=a b"],
    [*CLUSTER, "--volume=runs"],
    [*CLUSTER, "--volume=other:/runs"],
    [*CLUSTER, "--cpus=-1"],
    [*CLUSTER, "--memory=16 GB"],
    [*CLUSTER, "--gpus=-1"],
    [*CLUSTER, "--port=80"],
    [*CLUSTER, "--env=1A=b"],
    [*CLUSTER, "--namespace=A b"],
    [*CLUSTER, "--kind=tfjob", "--workers=1"],
    [*CLUSTER, "--hang_secs=nan"],
    [*CLUSTER, "--env=A=\udcff"],
    [*CLUSTER, "--", "--data_dir=/\udcff"],
    [*CLUSTER, "--", "--resume=never"],
    ["vertex", "--name=a", "--image=i"],
    [*VERTEX, "--nfs=/x"],
    [*VERTEX, "--network=default"],
    [*VERTEX, "--max_hours=0"],
    [*VERTEX, "--machine=a b"],
    [*VERTEX, "--env=A=\udcff"],
    [*VERTEX, "--", "--resume", "never"],
    [*SLURM, "--array=4"],
    [*SLURM, "--array=4", "--workers=2", "--", "--study_dir=/s"],
    [*SLURM, "--array=4", "--", "--study_dir=/s", "--finish"],
    [*CLUSTER, "--study"],
    [*CLUSTER, "--kind=jobset", "--study", "--", "--study_dir=/s"],
    ["sweep", "--trial=2"],
    ["sweep", "--workers=0"],
    ["sweep", "--study_dir="],
    ["sweep", "--halving_factor=1"],
    ["sweep", "--workers=2", "--cores_per_trial=4096"],
]


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_wrong_usage(words, capsys, tmp_path, monkeypatch):
    """Exit code 2, one or two lines on stderr, nothing printed, nothing written."""
    monkeypatch.chdir(tmp_path)
    for name in ("SLURM_PROCID", "TF_CONFIG", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)
    command, *flags = words
    assert COMMANDS[command].main(flags) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"launch.{command}: ")
    assert 1 <= len(captured.err.splitlines()) <= 2
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_a_typo_is_answered_with_the_flag_that_was_meant(capsys):
    assert local.main(["--worker=2"]) == 2
    assert "Did you mean: workers" in capsys.readouterr().err


def test_a_trainer_s_flag_before_the_dashes_is_explained(capsys):
    assert local.main(["digits"]) == 2
    assert "after a `--`" in capsys.readouterr().err


def test_a_flag_of_the_trainer_is_told_where_it_belongs(capsys):
    assert local.main(["--run_dir=runs/a"]) == 2
    assert "after a `--`" in capsys.readouterr().err


def test_the_second_dashes_are_named(capsys):
    assert local.main(["--", "--", "--epochs=3"]) == 2
    assert "second `--`" in capsys.readouterr().err


def test_a_worker_that_could_not_be_restarted_is_not_started(capsys, tmp_path):
    """Also when the flag is in a file; the environment alone would do."""
    path = tmp_path / "a.flags"
    path.write_text("--resume=never\n")
    job = {"LAUNCH_JOB": "a", "LAUNCH_WORKERS": "1", "LAUNCH_PORT": "2222"}
    environment = {**job, "JOB_COMPLETION_INDEX": "0"}
    for flag, code in ((f"--flagfile={path}", 2), ("--resume=auto", 0)):
        words = ["--print_config", "--", flag]
        assert worker.main(words, environment) == code
    assert "leave it out" in capsys.readouterr().err


def test_a_worker_adds_its_strategy_and_wants_a_run_directory(capsys, tmp_path):
    job = {"LAUNCH_JOB": "a", "LAUNCH_WORKERS": "1", "LAUNCH_PORT": "2222"}
    environment = {**job, "JOB_COMPLETION_INDEX": "0"}
    started = []

    def execute(program, command, _environment):
        started.append(command)

    environment |= os.environ
    assert worker.main(["--", "--epochs=3"], environment, execute) == 2
    assert "--run_dir is missing" in capsys.readouterr().err
    assert worker.main(["--", "--run_dir=/\udcff"], environment, execute) == 2
    assert "not UTF-8" in capsys.readouterr().err
    words = ["--", "--dataset=digits", f"--run_dir={tmp_path / 'a'}"]
    worker.main(words, environment, execute)
    (command,) = started
    assert command[2:] == ["trainer.main", *words[1:], "--strategy=multi_worker"]


def test_a_flag_file_of_other_bytes_is_wrong_usage(capsys, tmp_path):
    path = tmp_path / "a.flags"
    path.write_bytes(b"--data_dir=/\xff\n")
    assert slurm.main(["--name=a", "--", f"--flagfile={path}"]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_every_flag_of_its_own(name, capsys):
    assert COMMANDS[name].main(["--workers=0", "--help"]) == 0
    text = capsys.readouterr().out
    values = local.flags.FlagValues()
    DEFINITIONS[name](values)
    for flag in values:
        assert f"{flag}\n" in text
    assert "alsologtostderr" not in text
    assert all(len(line) <= 88 for line in text.splitlines())


def test_a_closed_pipe_is_no_traceback():
    text = f"{sys.executable} -m launch.kubernetes {' '.join(CLUSTER[1:])} | true"
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True)
    assert done.stderr == ""


RENDER = [
    ["launch.local", "--help"],
    ["launch.worker", "--help"],
    ["launch.sweep", "--help"],
    [f"launch.{SLURM[0]}", *SLURM[1:]],
    [f"launch.{CLUSTER[0]}", *CLUSTER[1:]],
    [f"launch.{VERTEX[0]}", *VERTEX[1:]],
]


def seconds(*arguments):
    """How long one start takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


@pytest.mark.parametrize("least", [3, pytest.param(9, marks=pytest.mark.slow)])
@pytest.mark.parametrize("words", RENDER, ids=lambda words: words[0])
def test_at_most_twice_the_start_of_absl(words, least):
    """The fastest of several starts of each, in turn: other work slows both."""
    pairs = []
    for _ in range(9):
        absl = seconds("-c", "from absl import app")
        pairs.append((seconds("-m", *words), absl))
        ours, absl = map(min, zip(*pairs, strict=True))
        if len(pairs) >= least and ours <= 2 * absl:
            return
    pytest.fail(f"{ours:.2f} s, absl alone starts in {absl:.2f} s")


def test_tensorflow_is_never_imported():
    modules = ", ".join(f"launch.{name}" for name in COMMANDS)
    code = f"import sys, {modules}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert roots >= {"absl", "launch"}
    ours = {name for name in done.stdout.split() if name.startswith("trainer")}
    assert ours == {"trainer", "trainer.contract", "trainer.streams"}
    of_yaml = {"yaml", "cython_runtime"}
    others = roots - {"absl", "launch", "trainer"} - of_yaml - sys.stdlib_module_names
    assert not {name for name in others if not name.startswith("_")}


INTERRUPTED = """
import signal, sys, trainer
from launch import command_line
signal.signal(signal.SIGINT, trainer._end_at_once)  # as a command does at first
def command(values, after):
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGINT)
        {work}
sys.exit(command_line.run("launch.x: y", lambda values: None, command, []))
"""


@pytest.mark.parametrize(
    "work", ["pass", "raise command_line.UsageError('odd')", "raise KeyError('odd')"]
)
def test_ctrl_c_is_one_line(work):
    """Also twice, and if a child process that it ended too is to blame."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(work=work)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "launch.x: stopped by SIGINT\n")
