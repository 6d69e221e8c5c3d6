"""Jobs of two workers on loopback, each a process."""

import json
import os
import subprocess
import sys
import time

from launch.rendezvous import free_ports
from tests.support.commands import ROOT, TINY

LOGGED = [
    "--log_every_steps=1",
    "--validation_fraction=0",
    "--model_kwargs=dropout=0.2",
]


def tf_configs(workers: int) -> list[str]:
    """TF_CONFIG of each worker of a job on loopback."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(workers)]}
    tasks = [{"type": "worker", "index": index} for index in range(workers)]
    return [json.dumps({"cluster": cluster, "task": task}) for task in tasks]


def start(data_dir, run_dir, *words: str) -> list[subprocess.Popen]:
    """Two workers of one run."""
    return start_in(data_dir, [run_dir, run_dir], *words)


def start_in(
    data_dir, run_dirs, *words: str, second: list[str] | None = None, **variables: str
) -> list[subprocess.Popen]:
    """A worker for each path by which the run directory is seen.

    The `second` one may have flags of its own, after the others', and `variables`.
    """
    described = tf_configs(len(run_dirs))
    files = any(word.startswith("--image_") for word in [*words, *(second or [])])
    tiny = [word for word in TINY if not (files and word.startswith("--dataset="))]
    started = []
    for index, run_dir in enumerate(run_dirs):
        flags = [*tiny, f"--data_dir={data_dir}", f"--run_dir={run_dir}", *words]
        own, more = ((second or []), variables) if index == 1 else ([], {})
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "trainer.main", *flags]
                + ["--strategy=multi_worker", "--threads=1", *own],
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": described[index], **more},
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
