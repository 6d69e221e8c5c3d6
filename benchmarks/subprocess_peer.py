"""Runs a side of a comparison in a separate process, controlled over a pipe.

Two frameworks in one process would share cores between two thread pools. Both ends use
this file: `Side` sends requests, `serve` answers them; both are lines of JSON.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from benchmarks.training import ROOT
from trainer.errors import TrainingFailed

WARM_UP = 2  # steps before each measurement, as the other side has used the caches


class Net(Protocol):
    """A network that trains on a constant batch."""

    def speed(self, steps: int) -> float:
        """Measures images per second over `steps` steps."""

    def peak_bytes(self) -> int | None:
        """The most GPU memory in use since `speed` began; None: it is not known."""
        return None


class Side:
    """The process of `module`, which calls `serve`; use it in a with statement."""

    def __init__(self, module: str, threads: int) -> None:
        self._module, self._peaks = module, {}
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  by __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # the process has ended
            self._process.stdin.close()
        self._process.wait()
        self._said.close()

    def speed(self, steps: int, **spec: Any) -> float:
        """Measures images per second of the network that `spec` describes.

        Raises:
            TrainingFailed: the process ended.
        """
        try:
            self._process.stdin.write(json.dumps({"steps": steps, "spec": spec}) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError) as error:
            self._said.seek(0)
            last = self._said.read().strip().splitlines()[-1:] or ["no message"]
            raise TrainingFailed(f"{self._module} ended: {last[0]}") from error
        self._peaks[_key(spec)] = answer["peak_bytes"]
        return answer["speed"]

    def peak_mib(self, **spec: Any) -> float | None:
        """GPU memory of a network whose speed was measured; None: not known."""
        peak = self._peaks[_key(spec)]
        return peak and peak / 2**20


def _key(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True)


def serve(make: Callable[..., Net]) -> None:
    """Answers requests with the speed of `make(**spec)` until the pipe is closed.

    All precisions of one network are kept, so that they can be measured in turn.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not be taken for an answer
    held: dict[str, Net] = {}
    name = None
    for line in sys.stdin:
        question = json.loads(line)
        spec: Mapping[str, Any] = question["spec"]
        if spec["name"] != name:
            held.clear()
            name = spec["name"]
        net = held.get(_key(spec))
        if net is None:
            net = held[_key(spec)] = make(**spec)
        net.speed(WARM_UP)
        speed = net.speed(question["steps"])
        answer = {"speed": speed, "peak_bytes": net.peak_bytes()}
        print(json.dumps(answer), file=answers, flush=True)
