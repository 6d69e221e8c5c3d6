"""Two processes on loopback: the same rows and losses as one, and no hang."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, TINY, result, train

LOGGED = ["--log_every_steps=1", "--validation_fraction=0", "--dropout=0.2"]


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def start(data_dir, run_dir, *words: str) -> list[subprocess.Popen]:
    """Two workers of one run."""
    return start_in(data_dir, [run_dir, run_dir], *words)


def start_in(
    data_dir, run_dirs, *words: str, second: list[str] | None = None, **variables: str
) -> list[subprocess.Popen]:
    """A worker for each path by which the run directory is seen.

    The `second` one may have flags of its own, after the others', and `variables`.
    """
    ports = free_ports(len(run_dirs))
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    started = []
    for index, run_dir in enumerate(run_dirs):
        flags = [*TINY, f"--data_dir={data_dir}", f"--run_dir={run_dir}", *words]
        task = {"type": "worker", "index": index}
        own, more = ((second or []), variables) if index == 1 else ([], {})
        described = json.dumps({"cluster": cluster, "task": task})
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "trainer.main", *flags]
                + ["--strategy=multi_worker", "--threads=1", *own],
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": described, **more},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return started


def finish(processes, limit_secs: float = 120) -> list[tuple[int, str]]:
    try:
        said = [p.communicate(timeout=limit_secs)[0] for p in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, text) for p, text in zip(processes, said, strict=True)]


def losses(run_dir) -> list[float]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def wait_for_steps(run_dir, count: int) -> None:
    limit = time.monotonic() + 90
    while time.monotonic() < limit:
        path = run_dir / "metrics.jsonl"
        if path.exists() and len(path.read_text().splitlines()) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} steps in 90 s")


def test_two_workers_equal_two_replicas_of_one(data_dir, tmp_path):
    short = [*LOGGED, "--train_steps=8"]
    done = finish(start(data_dir, tmp_path / "two", *short))
    assert [code for code, _ in done] == [0, 0], done
    words = ["--strategy=mirrored", "--logical_devices=2", "--threads=1"]
    train(data_dir, tmp_path / "one", *short, *words, check=True)
    two, one = result(tmp_path / "two"), result(tmp_path / "one")
    assert two["rows_sha256"] == one["rows_sha256"]
    assert two["replicas"] == one["replicas"] == 2
    pairs = zip(losses(tmp_path / "two")[:5], losses(tmp_path / "one")[:5], strict=True)
    assert all(abs(a - b) <= 1e-5 for a, b in pairs)


@pytest.mark.slow
def test_two_workers_equal_one_replica_in_float64(data_dir, tmp_path):
    words = [*LOGGED, "--precision=float64", "--train_steps=50"]
    done = finish(start(data_dir, tmp_path / "two", *words))
    assert [code for code, _ in done] == [0, 0], done
    train(data_dir, tmp_path / "one", *words, "--threads=1", check=True)
    pairs = zip(losses(tmp_path / "two"), losses(tmp_path / "one"), strict=True)
    assert all(abs(a - b) <= 1e-9 for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("signalled", [0, 1])
def test_one_signal_stops_all_at_the_same_step(data_dir, tmp_path, number, signalled):
    words = [*LOGGED, "--train_steps=100000", "--steps_per_call=3"]
    workers = start(data_dir, tmp_path / "run", *words)
    wait_for_steps(tmp_path / "run", 5)
    workers[signalled].send_signal(number)
    done = finish(workers, 60)
    code = {signal.SIGTERM: 143, signal.SIGUSR1: 138}[number]
    assert [c for c, _ in done] == [code, code], done
    steps = [re.search(r"after step (\d+), saved", text)[1] for _, text in done]
    assert steps[0] == steps[1]
    assert (tmp_path / "run" / "checkpoints" / f"step-{int(steps[0]):08d}").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_worker_is_named_and_ends_the_other(data_dir, tmp_path, number, lost):
    words = [*LOGGED, "--train_steps=100000", "--hang_secs=8"]
    workers = start(data_dir, tmp_path / "run", *words)
    wait_for_steps(tmp_path / "run", 5)
    workers[lost].send_signal(number)
    survivor = workers[1 - lost]
    said, _ = survivor.communicate(timeout=60)
    finish([workers[lost]]) if number == signal.SIGKILL else workers[lost].kill()
    assert survivor.returncode == 175, said
    assert f"worker {lost} (" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_worker_that_never_comes_is_named(data_dir, tmp_path):
    first, second = start(data_dir, tmp_path / "run", *LOGGED, "--hang_secs=4")
    second.kill()
    second.wait()
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 175, said
    assert "worker 1 (never came)" in said
