"""launch.local with the real trainer: the job is what one process would have done.

Slow: every run imports TensorFlow in each worker.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.support.launch_jobs import output_of

STEPS = 240
FLAGS = [
    "--dataset=digits",
    "--model_kwargs=width=0.25",
    "--global_batch=64",
    "--warmup_epochs=0",
    f"--train_steps={STEPS}",
    "--checkpoint_every_steps=20",
    "--steps_per_call=5",
]
STARTS = 8  # of the seeds: the worker is hit while the job starts
SAME = ("rows_sha256", "weights_sha256")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def launch(run_dir, data_dir, *flags):
    command = [sys.executable, "-m", "launch.local", "--workers=2", *flags, "--"]
    command += [*FLAGS, f"--data_dir={data_dir}", f"--run_dir={run_dir}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def result(run_dir):
    return json.loads((run_dir / "result.json").read_text())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data_dir):
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    process = launch(run_dir, data_dir, "--cores_per_worker=1")
    output = output_of(process)
    assert process.returncode == 0, output
    return result(run_dir)


@pytest.mark.slow
def test_the_same_rows_as_one_process_with_two_replicas(
    undisturbed, tmp_path, data_dir
):
    run_dir = tmp_path / "one"
    command = [sys.executable, "-m", "trainer.main", "--strategy=mirrored", *FLAGS]
    command += [f"--data_dir={data_dir}", f"--run_dir={run_dir}", "--logical_devices=2"]
    subprocess.run(command, check=True, timeout=300)
    assert result(run_dir)["rows_sha256"] == undisturbed["rows_sha256"]


def seeds():
    """Kill and stop, in the start and in training; and many more of them."""
    each = (0, 1, STARTS, STARTS + 1)
    return [
        pytest.param(s, marks=pytest.mark.slow if s in each else pytest.mark.faults)
        for s in range(20)
    ]


@pytest.mark.parametrize("seed", seeds())
def test_a_killed_or_stopped_worker_changes_nothing(
    undisturbed, tmp_path, data_dir, seed
):
    run_dir, dice = tmp_path / "run", random.Random(seed)
    number, victim = [signal.SIGKILL, signal.SIGSTOP][seed % 2], dice.randrange(2)
    process = launch(run_dir, data_dir, "--cores_per_worker=1", "--hang_secs=60")
    wait(lambda: len(workers(run_dir)) == 2)
    if seed >= STARTS:  # else at any moment of the start
        wait(lambda: list((run_dir / "checkpoints").glob("step-*")))
    time.sleep(dice.uniform(0, 3))
    os.kill(worker(run_dir, victim), number)
    output = output_of(process)
    assert process.returncode == 0, output
    assert f"worker-{victim} " in output, output
    assert {key: result(run_dir)[key] for key in SAME} == {
        key: undisturbed[key] for key in SAME
    }
    assert not workers(run_dir)


@pytest.mark.slow
def test_a_signal_stops_the_job_and_the_same_command_goes_on(
    undisturbed, tmp_path, data_dir
):
    run_dir = tmp_path / "run"
    process = launch(run_dir, data_dir, "--cores_per_worker=1")
    wait(lambda: list((run_dir / "checkpoints").glob("step-*")))
    process.send_signal(signal.SIGTERM)
    output = output_of(process)
    assert process.returncode == 143, output
    again = launch(run_dir, data_dir, "--cores_per_worker=1")
    output = output_of(again)
    assert again.returncode == 0, output
    assert result(run_dir)["rows_sha256"] == undisturbed["rows_sha256"]
    assert not workers(run_dir)


def wait(condition, secs=120.0):
    end = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def workers(run_dir):
    """Process id and TF_CONFIG of every trainer of this run."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            environment = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"trainer.main" in words and f"--run_dir={run_dir}".encode() in words:
            config = next(e for e in environment if e.startswith(b"TF_CONFIG="))
            found[int(path.name)] = json.loads(config.partition(b"=")[2])
    return found


def worker(run_dir, index):
    (pid,) = (
        pid
        for pid, config in workers(run_dir).items()
        if config["task"]["index"] == index
    )
    return pid
