"""Heartbeat: signs of progress for whoever supervises, and a watch over this process.

A replica waiting for a peer in a collective waits for ever, and TensorFlow never
notices a peer that is alive but stuck. So each worker leaves a sign at every phase, and
a thread ends the process with exit code 175 when the signs stop.
"""

import contextlib
import json
import os
import pathlib
import sys
import threading
import time

from trainer import files
from trainer.commandline import Stopped, refused
from trainer.contract import HEARTBEAT_VARIABLE as VARIABLE
from trainer.contract import LOST

COMPILE_SECS = 600.0
CHIEF = 0
# What a chief does while its peers wait for it.
WAITED_FOR = ("restore", "compile", "teach", "evaluate", "save")
UNHURRIED = ("compile", "restore")  # the chief may wait for the last owner's lease
MEET_HANGS = 4  # times hang_secs until the last peer has to be there


class Heartbeat:
    """The signs of one worker.

    Args:
        folder: where the workers of a job leave their signs for each other, or None.
        worker, workers: this one's index, and how many there are.
        hang_secs: without progress until the process is ended.
    """

    def __init__(
        self, folder: pathlib.Path | None, worker: int, workers: int, hang_secs: float
    ) -> None:
        self._folder = folder if workers > 1 else None
        self._worker, self._workers, self._hang_secs = worker, workers, hang_secs
        self._step, self._phase, self._at = 0, "start", time.monotonic()
        self._made = False  # the folder: never again, a run may have been moved away
        if workers > 1:
            threading.Thread(target=self._watch, daemon=True).start()

    def beat(self, phase: str, step: int | None = None) -> None:
        """Leaves a sign: start, connect, restore, teach, compile, train, evaluate,
        save or done.
        """
        self._step = self._step if step is None else step
        self._phase, self._at = phase, time.monotonic()
        sign = {"step": self._step, "phase": phase, "time": time.time()}
        if asked := os.environ.get(VARIABLE):
            _replace(pathlib.Path(asked), sign)
        if self._folder is not None:
            if not self._made:
                self._make()
            _replace(self._folder / f"{self._worker}.json", sign)

    def _make(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(
                f"{self._folder} cannot be made", error, restart=True
            ) from error
        self._made = True
        files.sweep(self._folder, mine=[f"{self._worker}.json"])

    def meet(self) -> None:
        """Waits until every peer is about to make the cluster.

        TensorFlow's constructor waits for a peer without end, and nothing in this
        process runs meanwhile. A sign left by an earlier attempt does not count: it
        has to change while this worker looks.

        Raises:
            Stopped: a peer did not come within four times `hang_secs`.
        """
        if self._folder is None:
            return
        before = {n: self._sign(n) for n in self._peers()}
        limit = time.monotonic() + MEET_HANGS * self._hang_secs
        coming = set(before)
        while coming:
            self.beat("start")
            coming = {n for n in coming if self._sign(n) in (None, before[n])}
            if coming and time.monotonic() > limit:
                names = ", ".join(f"worker {n}" for n in sorted(coming))
                raise Stopped(
                    f"worker {self._worker} waited in vain for: {names} (never came);\n"
                    "restart the whole group",
                    LOST,
                )
            time.sleep(0.2 if coming else 0)
        self.beat("connect")

    def _peers(self) -> list[int]:
        return [n for n in range(self._workers) if n != self._worker]

    def missing(self) -> str:
        """Names the peers that are silent, or else those that are furthest behind."""
        signs = {n: self._sign(n) for n in self._peers()}
        late = time.time() - self._hang_secs / 2
        silent = [n for n, sign in signs.items() if sign is None or sign["time"] < late]
        least = min((s["step"] for s in signs.values() if s), default=0)
        behind = [n for n, s in signs.items() if s and s["step"] == least]
        named = silent or behind
        said = [f"worker {n} ({self._last(signs[n])})" for n in named]
        return ", ".join(said) or "no peer"

    def _last(self, sign: dict | None) -> str:
        if sign is None:
            return "never came"
        ago = time.time() - sign["time"]
        return (
            f"last seen {ago:.0f} s ago in phase {sign['phase']}, step {sign['step']}"
        )

    def _sign(self, worker: int) -> dict | None:
        try:
            sign = files.read_json(self._folder / f"{worker}.json")
            return {"time": float(sign["time"]), **sign}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _chief_is_busy(self) -> bool:
        """Whether this worker has reason to wait: the chief may take minutes."""
        sign = self._sign(CHIEF) if self._worker != CHIEF else None
        if sign is None or sign.get("phase") not in WAITED_FOR:
            return False
        return time.time() - sign["time"] < self._hang_secs

    def _watch(self) -> None:
        while True:
            time.sleep(0.5)
            limit = COMPILE_SECS if self._phase in UNHURRIED else self._hang_secs
            quiet = time.monotonic() - self._at
            if quiet > limit / 2 and self._chief_is_busy():
                self.beat(self._phase)
            elif self._phase not in ("start", "done") and quiet > limit:
                print(
                    f"trainer.main: worker {self._worker} made no progress in phase "
                    f"{self._phase}, step {self._step}, for {quiet:.0f} s; waiting "
                    f"for: {self.missing()};\nrestart the whole group",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(LOST)


def _replace(path: pathlib.Path, sign: dict) -> None:
    """A sign that cannot be left must not end the training."""
    beside = files.beside(path)
    try:
        files.write_new(beside, json.dumps(sign).encode())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
