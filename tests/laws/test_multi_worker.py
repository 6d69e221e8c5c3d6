"""Two processes on loopback: the same rows and losses as one, and no hang."""

import os
import re
import signal
import subprocess
import sys

import pytest

from tests.support.commands import ROOT, result, run_trainer
from tests.support.multi_worker import (
    LOGGED,
    finish,
    losses,
    start,
    tf_configs,
    wait_for_steps,
)

# Soon traced, and without batch statistics, which are of each worker's share.
PLAIN = ["--model=tests/support/nets.py:plain"]
PLAIN += ["--model_kwargs=width=0.25,dropout=0.2"]


def test_two_workers_equal_two_replicas_of_one(data_dir, tmp_path):
    short = [*LOGGED, *PLAIN, "--train_steps=8"]
    done = finish(start(data_dir, tmp_path / "two", *short))
    assert [code for code, _ in done] == [0, 0], done
    words = ["--strategy=mirrored", "--logical_devices=2", "--threads=1"]
    run_trainer(data_dir, tmp_path / "one", *short, *words, check=True)
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
    run_trainer(data_dir, tmp_path / "one", *words, "--threads=1", check=True)
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


SCRIPT = """
import sys
import numpy as np
import trainer
labels = np.arange(80) % 2
noise = np.random.default_rng(0).integers(0, 100, (80, 12, 12, 3), np.uint8)
images = noise + 100 * labels[:, None, None, None].astype(np.uint8)
data = trainer.data.from_arrays(train=(images, labels))
strategy = trainer.Strategy.MULTI_WORKER
run = trainer.RunConfig(run_dir=sys.argv[1], strategy=strategy, threads=1)
config = trainer.Config(epochs=2, global_batch=16)
result = trainer.train(config, data, run_config=run)
print(sorted(vars(result))[:3])
"""


@pytest.mark.slow
def test_a_script_trains_on_two_workers(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "run")],
            cwd=ROOT,
            env={**os.environ, "TF_CONFIG": described},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for described in tf_configs(2)
    ]
    (chief, said), (other, also) = finish(workers)
    assert (chief, other) == (0, 0), said + also
    assert "'run_dir'" not in said.splitlines()[-1]  # other keys come before it
    assert also.splitlines()[-1] == "['run_dir']"
    assert result(tmp_path / "run")["finished"]
