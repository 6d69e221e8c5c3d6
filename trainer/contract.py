"""Contract: what the trainer and whoever starts it have to agree on.

Exit codes, the signals that ask for a stop, TF_CONFIG, the heartbeat file, lines of
progress. Standard library only: `launch` imports this module and `trainer.streams`.

>>> task = '"task": {"type": "worker", "index": 1}'
>>> read_cluster('{"cluster": {"worker": ["a:1", "b:1"]}, %s}' % task, "X", ["worker"])
Cluster(workers=('a:1', 'b:1'), index=1)
"""

import collections
import dataclasses
import json
import os
import re
import signal
import time
from collections.abc import Sequence
from typing import Any

FAILED = 1  # and a restart would fail the same way
WRONG_USAGE = 2  # nothing was written
LOST = 175  # a peer or the storage: restart the whole group
# A stop after a checkpoint: 128 + the signal's number, as a shell counts.
HUNG_UP, INTERRUPTED, PREEMPTED, TERMINATED = 129, 130, 138, 143
STOPS = {
    signal.SIGHUP: HUNG_UP,
    signal.SIGINT: INTERRUPTED,
    signal.SIGUSR1: PREEMPTED,
    signal.SIGTERM: TERMINATED,
}


def stops() -> list[signal.Signals]:
    """The signals to take over: one that whoever started us ignores stays ignored.

    That is `nohup`, which is to outlive its terminal. SIGINT is taken all the same:
    shells ignore it for what runs in the background, where it is sent on purpose.
    """
    deaf = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in STOPS if not (deaf and number == signal.SIGHUP)]


TF_CONFIG = "TF_CONFIG"
MAX_HOST_CHARS = 253  # of a DNS name
_SHOWN_CHARS = 80  # of what was read, in an error
_HOST = re.compile(
    rf"[A-Za-z0-9_.-]{{1,{MAX_HOST_CHARS}}}|\[[0-9A-Fa-f:.]{{2,45}}(%[A-Za-z0-9_.-]+)?\]"
)
_PORT = re.compile(r"[0-9]{1,5}")
_INDEX = re.compile(r"[0-9]{1,10}")

HEARTBEAT_VARIABLE = "TRAINER_HEARTBEAT_FILE"
_PASSING = re.compile(r"  ETA \S|\(\d+:[\d:]+ so far\)$")


def passing(line: str) -> bool:
    """Whether `line` tells how far something is, so that the next one makes it old.

    Every worker writes such lines, for its own log; one worker's are enough to see.
    """
    return _PASSING.search(line) is not None


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of one job, `host:port` in task order, and this process' index.

    Worker 0 is the chief; there are no other kinds of task.

    Raises:
        ValueError: no such worker, an address twice, or one that is not host:port.
    """

    workers: tuple[str, ...]
    index: int

    def __post_init__(self) -> None:
        for worker in self.workers:
            host, _, port = worker.rpartition(":")
            known = _HOST.fullmatch(host) and _PORT.fullmatch(port)
            if not known or not 0 < int(port) < 65_536:
                raise ValueError(
                    f"{_shown(worker)} is not host:port with a port from 1 to 65535"
                )
        if not 0 <= self.index < len(self.workers):
            raise ValueError(
                f"index {self.index} is not one of {len(self.workers)} workers (from 0)"
            )
        if len(set(self.workers)) != len(self.workers):
            ((shared, _),) = collections.Counter(self.workers).most_common(1)
            raise ValueError(f"two workers share an address: {shared}")

    def to_json(self) -> str:
        """The value of TF_CONFIG."""
        return json.dumps(
            {
                "cluster": {"worker": list(self.workers)},
                "task": {"type": "worker", "index": self.index},
            }
        )


def read_cluster(text: str, name: str, kinds: Sequence[str]) -> Cluster:
    """The cluster that the variable `name` describes, in TF_CONFIG's form.

    Args:
        text: the variable's value.
        kinds: of task that take part; they become one list of workers in this order.

    Raises:
        ValueError: in one line, how `text` is not a cluster of these kinds.
    """
    described = json_object(text, name)
    members = {
        kind: _addresses(kind, hosts)
        for kind, hosts in _object(described, "cluster", name).items()
    }
    task, index = _task(_object(described, "task", name), name)
    surplus = sorted(
        kind for kind in {*members, task} - set(kinds) if kind == task or members[kind]
    )
    if surplus:
        raise ValueError(
            f"{', '.join(map(_shown, surplus))} cannot take part in synchronous "
            f"training, only {', '.join(kinds)}"
        )
    if not 0 <= index < len(members.get(task, [])):
        raise ValueError(f"{task} {index} is not in the cluster")
    before = kinds[: list(kinds).index(task)]
    return Cluster(
        workers=tuple(host for kind in kinds for host in members.get(kind, [])),
        index=index + sum(len(members.get(kind, [])) for kind in before),
    )


def json_object(text: str, name: str) -> dict[str, Any]:
    """The JSON object in the variable `name`.

    Raises:
        ValueError: in one line, that `text` is something else.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply for JSON of a cluster") from None
    except ValueError as error:  # also of a number with thousands of digits
        raise ValueError(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    return value


def _object(described: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    value = described.get(key)
    if not isinstance(value, dict):
        raise ValueError(f"{name} has no object {key!r}, got {_shown(value)}")
    return value


def _addresses(kind: str, hosts: object) -> list[str]:
    """A text would count as one worker a letter."""
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise ValueError(
            f"{_shown(kind)} has no list of host:port texts, got {_shown(hosts)}"
        )
    return hosts


def _task(task: dict[str, Any], name: str) -> tuple[str, int]:
    kind, index = task.get("type"), task.get("index")
    if not isinstance(kind, str):
        raise ValueError(f"{name} has no task type, got {_shown(kind)}")
    if type(index) is not int and not (
        isinstance(index, str) and _INDEX.fullmatch(index)
    ):
        raise ValueError(f"{name} has no task index, got {_shown(index)}")
    return kind, int(index)


def _shown(value: object) -> str:
    """One short line, whatever it is."""
    try:
        text = ascii(value)
    except (RecursionError, ValueError):
        text = type(value).__name__
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def sign(step: int, phase: str, count: int, **more: object) -> bytes:
    """A heartbeat file's content: step and phase, and what makes it unlike all others.

    Whoever reads it looks whether it changed, by a clock of its own: the clocks of two
    machines may be minutes apart. `time` is for people.
    """
    fields = {"step": step, "phase": phase, "time": time.time(), "count": count}
    return json.dumps({**fields, "process": os.getpid(), **more}).encode()


def read_sign(content: bytes) -> dict[str, Any] | None:
    """The fields of a sign, at least step and phase; None of anything else."""
    try:
        fields = json.loads(content)
        return {**fields, "step": int(fields["step"]), "phase": str(fields["phase"])}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
