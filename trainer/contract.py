"""Contract between the trainer and the launchers that start it.

It defines exit codes, stop signals, TF_CONFIG, the heartbeat file and progress lines.
It needs the standard library only: `launch` imports this module and `trainer.streams`.

>>> task = '"task": {"type": "worker", "index": 1}'
>>> read_cluster('{"cluster": {"worker": ["a:1", "b:1"]}, %s}' % task, "X", ["worker"])
ClusterSpec(workers=('a:1', 'b:1'), index=1)
"""

import collections
import contextlib
import dataclasses
import datetime
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

EXIT_FAILED = 1  # a restart would fail the same way
EXIT_WRONG_USAGE = 2  # nothing was written
EXIT_PEER_LOST = 175  # a peer or the storage was lost: restart the whole group
# Stopped by a signal after a checkpoint: 128 + the number of the signal, as in a shell.
EXIT_HUNG_UP, EXIT_INTERRUPTED, EXIT_PREEMPTED, EXIT_TERMINATED = 129, 130, 138, 143
STOPS = {
    signal.SIGHUP: EXIT_HUNG_UP,
    signal.SIGINT: EXIT_INTERRUPTED,
    signal.SIGUSR1: EXIT_PREEMPTED,
    signal.SIGTERM: EXIT_TERMINATED,
}


def stop_signals() -> list[signal.Signals]:
    """Lists the signals to handle: all of STOPS, but SIGHUP not if it is ignored.

    `nohup` ignores SIGHUP so that the process outlives its terminal. SIGINT is always
    handled: shells ignore it for background processes, where it is sent on purpose.
    """
    deaf = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in STOPS if not (deaf and number == signal.SIGHUP)]


class Interrupts:
    """Handler of Ctrl-C while a command works: the first raises KeyboardInterrupt.

    Another one would cut off the removal of what is half written. It is ignored within
    a second (a terminal and a supervisor may send one each); later it ends the process
    at once.

    Attributes:
        received: when the first one came, by the monotonic clock; None before.
    """

    def __init__(self, name: str, stderr: Callable[[], int] = lambda: 2) -> None:
        self.received: float | None = None
        self._name, self._stderr = name, stderr

    def __call__(self, number: int, _frame: object) -> None:
        """Raises KeyboardInterrupt, returns, or ends the process."""
        if self.received is None:
            self.received = time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - self.received > AGAIN_SECS:
            self.end(number, None)

    def end(self, number: int, _frame: object) -> None:
        """Ends the process at once, with one line; also from a thread."""
        with contextlib.suppress(ValueError):  # in a thread
            signal.signal(number, signal.SIG_IGN)
        line = f"{self._name}: stopped by {signal.Signals(number).name}\n"
        with contextlib.suppress(OSError):
            clear = "\r\x1b[K" if os.isatty(self._stderr()) else ""
            os.write(self._stderr(), f"{clear}{line}".encode())
        os._exit(STOPS[signal.Signals(number)])


AGAIN_SECS = 1.0  # in which a second Ctrl-C counts as the first
# `timeout` and a terminal's wrapper send a signal to the process and to its group: two
# within so many seconds are one of a StopRequest, and a checkpoint is saved.
TWICE_SECS = 0.1
_AFTER_SECS = 1.5 * TWICE_SECS  # the destructor has ended, and it counts as a second
_interrupts: Interrupts | None = None  # of this process, if it is a command


@contextlib.contextmanager
def raising_on_interrupt(
    name: str, stderr: Callable[[], int] = lambda: 2
) -> Iterator[None]:
    """Context of the work of the command `name`: Ctrl-C raises KeyboardInterrupt.

    Before, `trainer/__init__.py` makes it end the process; afterwards each stop signal
    does, with one line. `stderr` returns the descriptor of stderr, which may be
    redirected.
    """
    global _interrupts
    try:
        found = signal.getsignal(signal.SIGINT)
        if getattr(found, "__module__", "") == __package__:  # its `_end_at_once`
            _interrupts = Interrupts(name, stderr)
            signal.signal(signal.SIGINT, _interrupts)
            sys.unraisablehook = _repeat_stop
        yield
    finally:
        _end_on_signals()


def _end_on_signals() -> None:
    """Makes stop signals end a command at once, with one line, as its work is over.

    An exception that a handler raises now would be shown with its traceback.
    """
    if _interrupts is None:
        return  # a script
    for number in STOPS:
        handler = signal.getsignal(number)
        again = handler is _interrupts and _interrupts.received is not None
        if callable(handler) and not again:
            signal.signal(number, _interrupts.end)


def end_at_once(number: int) -> NoReturn:
    """Ends the process with the exit code of signal `number`; a command says so."""
    if _interrupts is not None:
        _interrupts.end(number, None)
    os._exit(STOPS[signal.Signals(number)])


def was_interrupted() -> bool:
    """Whether Ctrl-C came while this command worked.

    An error after that follows from it: a library turns KeyboardInterrupt into an
    error of its own, or a child process was ended by the same Ctrl-C.
    """
    return _interrupts is not None and _interrupts.received is not None


def _repeat_stop(unraisable: Any) -> None:  # noqa: ANN401
    """Sends a stop signal again whose exception a destructor has swallowed."""
    value = unraisable.exc_value
    code = getattr(value, "code", None)
    if isinstance(value, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
        if _interrupts is not None:
            _interrupts.received = None
    if isinstance(value, Exception) or code not in STOPS.values():
        sys.__unraisablehook__(unraisable)
        return
    timer = threading.Timer(_AFTER_SECS, os.kill, [os.getpid(), code - 128])
    timer.daemon = True
    timer.start()


TF_CONFIG = "TF_CONFIG"
MAX_HOST_CHARS = 253  # the limit of a DNS name
_SHOWN_CHARS = 80  # characters of a wrong value that an error shows
_HOST = re.compile(
    rf"[A-Za-z0-9_.-]{{1,{MAX_HOST_CHARS}}}|\[[0-9A-Fa-f:.]{{2,45}}(%[A-Za-z0-9_.-]+)?\]"
)
_PORT = re.compile(r"[0-9]{1,5}")
_INDEX = re.compile(r"[0-9]{1,10}")

HEARTBEAT_VARIABLE = "TRAINER_HEARTBEAT_FILE"
LOADING = "loading TensorFlow"  # the first line of a command that takes seconds
_PASSING = re.compile(rf"  ETA \S|\(\d+:[\d:]+ so far\)$|^{LOADING}$")


def shell_code(returncode: int) -> int:
    """The exit code as a shell sees it: 128 + n for a process that signal n ended."""
    return returncode if returncode >= 0 else 128 - returncode


def is_progress_line(line: str) -> bool:
    """Whether `line` is a progress line, which the next one makes obsolete.

    Every worker writes progress lines to its log; a console shows those of one worker.
    """
    return _PASSING.search(line) is not None


def format_time() -> str:
    """Formats the time now (UTC, with milliseconds) for the name of a directory.

    Runs and studies that a script starts in the same second have different names.
    """
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03}"


def name_run(time: str, model: str, dataset: str) -> str:
    """Names the directory of a new run: time, network, data set.

    A network that has no usable name, such as a lambda of a script, is called network.

    >>> name_run("T", "nets/my_net.py:network", "cifar10")
    'T-my_net-network-cifar10'
    """
    network = model.rpartition("/")[2].replace(".py:", "-").replace(":", "-")
    shown = network if re.fullmatch(r"\w[\w.-]*", network) else "network"
    return f"{time}-{shown}-{re.sub('[/:]', '-', dataset)}"


@dataclasses.dataclass(frozen=True)
class ClusterSpec:
    """The workers of one job, `host:port` in task order, and the index of this process.

    Worker 0 is the chief; there are no other kinds of task.

    Raises:
        ValueError: the index is not a worker's, or an address occurs twice or is not
            host:port.
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
        """Encodes the value of TF_CONFIG."""
        return json.dumps(
            {
                "cluster": {"worker": list(self.workers)},
                "task": {"type": "worker", "index": self.index},
            }
        )


def read_cluster(text: str, name: str, kinds: Sequence[str]) -> ClusterSpec:
    """Parses the cluster that the variable `name` describes, in the form of TF_CONFIG.

    Args:
        text: the value of the variable.
        kinds: task types that take part; their tasks become one list of workers in this
            order.

    Raises:
        ValueError: `text` is not a cluster of these types; the message has one line.
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
    return ClusterSpec(
        workers=tuple(host for kind in kinds for host in members.get(kind, [])),
        index=index + sum(len(members.get(kind, [])) for kind in before),
    )


def json_object(text: str, name: str) -> dict[str, Any]:
    """Parses the JSON object in the variable `name`.

    Raises:
        ValueError: `text` is not a JSON object; the message has one line.
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
    """Checks that `hosts` is a list of texts and not one text."""
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
    """Formats any value as one short line."""
    try:
        text = ascii(value)
    except (RecursionError, ValueError):
        text = type(value).__name__
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def encode_heartbeat(step: int, phase: str, count: int, **more: object) -> bytes:
    """Encodes a heartbeat: step, phase, and fields that make each heartbeat unique.

    A reader measures by its own clock when the content changed, as the clocks of two
    machines may differ by minutes. `time` is for people only.
    """
    fields = {"step": step, "phase": phase, "time": time.time(), "count": count}
    return json.dumps({**fields, "process": os.getpid(), **more}).encode()


def decode_heartbeat(content: bytes) -> dict[str, Any] | None:
    """Decodes the fields of a heartbeat file; None if step or phase is missing."""
    try:
        fields = json.loads(content)
        return {**fields, "step": int(fields["step"]), "phase": str(fields["phase"])}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
