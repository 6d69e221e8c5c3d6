"""Heartbeats, which show the progress of a worker, and a watchdog.

A collective waits for a lost peer for ever, and TensorFlow never notices a peer that is
alive but stuck. So each worker writes a heartbeat file in every phase and after every
block of steps, and a thread ends the process with exit code 175 when that stops.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import pathlib
import sys
import threading
import time
import typing
from collections.abc import Callable
from typing import Any

from trainer import contract, files
from trainer.config.serialization import differences
from trainer.contract import EXIT_PEER_LOST
from trainer.contract import HEARTBEAT_VARIABLE as VARIABLE
from trainer.errors import InvalidInput, PeerLost
from trainer.storage import as_refusal

COMPILE_SECS = 600.0
CHIEF = 0
# Phases of the chief in which its peers wait for it.
WAITED_FOR = ("restore", "compile", "teach", "evaluate", "save")
UNHURRIED = ("compile", "restore")  # the chief may wait for an old lease to end
UNWATCHED = ("start", "refused", "done")
PEERS_A_LOOK = 16  # peers read at once: many workers must not overload the storage
MEET_POLL_SECS = 0.2
SAY_SECS = 5.0
REFUSE_SECS = 10.0  # limit until all peers have read why the job is refused
MEET_HANGS = 4  # multiple of hang_secs within which all peers have to start


class Heartbeat:
    """The heartbeat of one worker, and its view of the heartbeats of its peers.

    The age of a heartbeat is measured from the last change of its content, by the
    monotonic clock of this process: clocks of two machines are never compared.

    Args:
        folder: where the workers of a job write their heartbeats, or None.
        worker, workers: the index of this worker, and how many there are.
        hang_secs: seconds without progress after which the process is ended.
    """

    def __init__(
        self, folder: pathlib.Path | None, worker: int, workers: int, hang_secs: float
    ) -> None:
        self._folder = folder if workers > 1 else None
        self._worker, self._workers, self._hang_secs = worker, workers, hang_secs
        self._step, self._phase, self._at = 0, "start", time.monotonic()
        self._count = itertools.count()
        self._facts: dict[str, Any] | None = None
        self._made = False  # the folder is made once: the run may be moved away later
        self._seen: dict[int, _Seen] = {}
        self._lock = threading.Lock()  # of _seen
        if workers > 1:
            threading.Thread(target=self._watch, daemon=True).start()

    @classmethod
    def without_peers(cls) -> "Heartbeat":
        """Creates the heartbeat of a process without peers."""
        return cls(None, 0, 1, hang_secs=math.inf)

    def write(self, phase: str, step: int | None = None) -> None:
        """Writes a heartbeat.

        Phases are start, connect, refused, restore, teach, compile, train, evaluate,
        save and done.
        """
        self._step = self._step if step is None else step
        self._phase, self._at = phase, time.monotonic()
        given = self._step, phase, next(self._count)
        if asked := os.environ.get(VARIABLE):
            _replace(pathlib.Path(asked), contract.encode_heartbeat(*given))
        if self._folder is not None:
            if not self._made:
                self._make()
            facts = {} if self._facts is None else {"facts": self._facts}
            _replace(
                self._path(self._worker), contract.encode_heartbeat(*given, **facts)
            )

    def _make(self) -> None:
        folder = typing.cast(pathlib.Path, self._folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise as_refusal(f"{folder} cannot be made", error, restart=True) from error
        self._made = True
        files.remove_leftovers(folder, mine=[f"{self._worker}.json"])

    def wait_for_peers(self, facts: dict[str, Any], say: Callable[[str], None]) -> None:
        """Waits until every peer is about to join the cluster, with equal `facts`.

        TensorFlow waits for a missing peer for ever and blocks this process. A
        heartbeat of an earlier attempt does not count: the file has to change while
        this worker waits.

        Args:
            facts: JSON that must be equal on all workers.
            say: receives a message every few seconds.

        Raises:
            InvalidInput: a worker was started with other facts; all workers raise it.
            PeerLost: a peer did not start within four times `hang_secs`.
        """
        if self._folder is None:
            return
        self._facts = json.loads(json.dumps(facts))
        for peer in self._peers():
            self._look(peer)
        start = words = time.monotonic()
        while coming := [n for n in self._peers() if self._facts_of(n) is None]:
            self.write("start")
            now, names = time.monotonic(), ", ".join(f"worker {n}" for n in coming)
            if now > start + MEET_HANGS * self._hang_secs:
                self._compare()
                raise PeerLost(
                    f"worker {self._worker} waited in vain for: {names} (never came);\n"
                    "restart the whole group"
                )
            if now > words + SAY_SECS:
                words = now
                say(f"worker {self._worker} waits for {names}")
            time.sleep(MEET_POLL_SECS)
        self.write("connect")
        self._compare()
        self._facts = None

    def remove(self) -> None:
        """Removes this worker's heartbeat, and its folder if that is empty."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._path(self._worker).unlink()
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                self._folder.parent.rmdir()

    def _compare(self) -> None:
        """Raises InvalidInput if the workers were started with different facts.

        It waits until the peers have read the facts of this worker, so that all of them
        raise the error.
        """
        given = {n: self._facts_of(n) for n in self._peers()} | {
            self._worker: self._facts
        }
        if (message := describe_disagreement(given)) is None:
            return
        self.write("refused")
        end = time.monotonic() + REFUSE_SECS
        while time.monotonic() < end and not all(map(self._has_refused, self._peers())):
            time.sleep(MEET_POLL_SECS)
        raise InvalidInput(message)

    def _has_refused(self, peer: int) -> bool:
        seen = self._look(peer)
        return not self._path(peer).exists() or (
            seen is not None and seen.sign["phase"] == "refused"
        )

    def _facts_of(self, peer: int) -> dict[str, Any] | None:
        """Reads the facts that the peer was started with; None until it has started."""
        seen = self._look(peer)
        facts = seen.sign.get("facts") if seen is not None and seen.fresh else None
        return facts if isinstance(facts, dict) else None

    def _peers(self) -> list[int]:
        return [n for n in range(self._workers) if n != self._worker]

    def describe_missing_peers(self) -> str:
        """Names the peers without recent heartbeats, or else those furthest behind."""
        seen = {n: self._look(n) for n in self._peers()}
        late = time.monotonic() - self._hang_secs / 2
        silent = [n for n, s in seen.items() if not s or not s.fresh or s.at < late]
        least = min((s.sign["step"] for s in seen.values() if s), default=0)
        behind = [n for n, s in seen.items() if s and s.sign["step"] == least]
        said = [f"worker {n} ({_last(seen[n])})" for n in silent or behind]
        return ", ".join(said) or "no peer"

    def _path(self, worker: int) -> pathlib.Path:
        return typing.cast(pathlib.Path, self._folder) / f"{worker}.json"

    def _look(self, worker: int) -> "_Seen | None":
        """Reads the worker's last heartbeat; None if it has not written one."""
        content = b""
        with contextlib.suppress(OSError):
            content = files.read_bytes(self._path(worker), files.JSON_BYTES)
        found = contract.decode_heartbeat(content)
        with self._lock:
            seen = self._seen.get(worker)
            if found is not None and (seen is None or content != seen.content):
                seen = _Seen(content, found, time.monotonic(), fresh=seen is not None)
                self._seen[worker] = seen
            return seen

    def _chief_is_busy(self) -> bool:
        """Whether the chief is in a phase that may take minutes."""
        seen = self._seen.get(CHIEF) if self._worker != CHIEF else None
        if seen is None or not seen.fresh or seen.sign["phase"] not in WAITED_FOR:
            return False
        return time.monotonic() - seen.at < self._hang_secs

    def _watch(self) -> None:
        turns = itertools.cycle(self._peers())
        while True:
            time.sleep(0.5)
            few = itertools.islice(turns, min(PEERS_A_LOOK, self._workers - 1))
            for peer in {CHIEF, *few} - {self._worker}:
                self._look(peer)
            limit = COMPILE_SECS if self._phase in UNHURRIED else self._hang_secs
            quiet = time.monotonic() - self._at
            if quiet > limit / 2 and self._chief_is_busy():
                self.write(self._phase)
            elif self._phase not in UNWATCHED and quiet > limit:
                self._give_up(quiet)

    def _give_up(self, quiet: float) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(
                f"trainer.main: worker {self._worker} made no progress in phase "
                f"{self._phase}, step {self._step}, for {quiet:.0f} s; waiting "
                f"for: {self.describe_missing_peers()};\nrestart the whole group",
                file=sys.stderr,
                flush=True,
            )
        os._exit(EXIT_PEER_LOST)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """The last heartbeat of a peer.

    Attributes:
        content, sign: the bytes and the fields of the file.
        at: when this process read it first, by its monotonic clock.
        fresh: whether this process has seen the file change.
    """

    content: bytes
    sign: dict[str, Any]
    at: float
    fresh: bool


def _last(seen: _Seen | None) -> str:
    if seen is None or not seen.fresh:
        return "never came"
    ago, phase, step = time.monotonic() - seen.at, seen.sign["phase"], seen.sign["step"]
    return f"last seen {ago:.0f} s ago in phase {phase}, step {step}"


def describe_disagreement(given: dict[int, dict[str, Any] | None]) -> str | None:
    """Names workers and fields that differ from those of the first; None if none does.

    Args:
        given: facts of each worker by its index; None if it has not started.
    """
    came = {n: facts for n, facts in sorted(given.items()) if facts is not None}
    first = next(iter(came))
    said = [
        f"worker {n} was started unlike worker {first} (its != that one's: "
        f"{'; '.join(found)[:300]})"
        for n, facts in came.items()
        if (found := differences(facts, came[first]))
    ]
    if not said:
        return None
    more = f", and {len(said) - 1} more" if len(said) > 1 else ""
    return f"{said[0]}{more};\ngive all workers the same flags, code and packages"


def _replace(path: pathlib.Path, sign: bytes) -> None:
    """Replaces the file at `path`; a failure is ignored and never ends a training."""
    beside = files.temporary_path(path)
    try:
        files.write_new(beside, sign)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
