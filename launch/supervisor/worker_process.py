"""Worker process with its own session, cores, log file and heartbeat."""

import collections
import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from launch.supervisor.exit_policy import WorkerExit
from launch.supervisor.heartbeat_file import HeartbeatFile
from launch.supervisor.log_file import WorkerLog
from launch.supervisor.process_identity import die_with_parent
from trainer.contract import is_progress_line

LAST_LINES = 20  # shown when a worker is blamed

_CHUNK_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """Specification of a process: command, cores and environment."""

    name: str
    index: int
    command: Sequence[str]
    cores: Sequence[int]
    environment: Mapping[str, str]


class WorkerProcess:
    """Process of one worker, started by the constructor; no method blocks.

    Its lines are passed to `show` and `log`; `last_lines` keeps the newest, and of
    consecutive progress lines only the last.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        heartbeat: HeartbeatFile,
        log: WorkerLog,
        show: Callable[[str], None],
    ) -> None:
        self.index = spec.index
        self.heartbeat = heartbeat
        self.last_lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self.log = log
        self._show = show
        self._rest = b""
        self._process = subprocess.Popen(
            spec.command,
            env=spec.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Safe: the only other threads write to the console, without a lock.
            preexec_fn=_prepare_child(spec.cores),
        )
        os.set_blocking(self.output.fileno(), False)

    @property
    def output(self) -> IO[bytes]:
        """Reading end of the worker's stdout and stderr."""
        return typing.cast(IO[bytes], self._process.stdout)

    def poll(self) -> int | None:
        """Returns the exit code: -n after signal n, None while it runs."""
        return self._process.poll()

    def exit_at(self, now: float) -> WorkerExit:
        """Returns its state at `now` (seconds of the heartbeat's clock)."""
        code = self.poll()
        return WorkerExit(
            index=self.index,
            code=code,
            stopped=code is None and _is_stopped(self._process.pid),
            step=self.heartbeat.step,
            silent_secs=now - self.heartbeat.changed_secs,
        )

    def send(self, number: int) -> None:
        """Sends a signal to the worker itself, not to its child processes."""
        if self.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kills the worker and its child processes, and waits for its end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Forwards the rest of its output and closes its files."""
        self.forward_output()
        self._emit(self._rest)
        self.output.close()
        self.log.write(b"")

    def forward_output(self) -> bool:
        """Forwards its output; returns False at the end of the output."""
        while True:
            try:
                chunk = os.read(self.output.fileno(), _CHUNK_BYTES)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            self.log.write(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._emit(line)

    def _emit(self, line: bytes) -> None:
        """Shows the text after the last carriage return, as a terminal would."""
        text = line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace")
        if text.strip():
            newest = self.last_lines[-1] if self.last_lines else ""
            if is_progress_line(text) and is_progress_line(newest):
                self.last_lines.pop()
            self.last_lines.append(text)
            self._show(text)


def _prepare_child(cores: Sequence[int]) -> Callable[[], None]:
    """Returns the function that runs between fork and exec."""
    end = die_with_parent()

    def prepare() -> None:
        # Python would show a traceback while it starts: `trainer` unblocks it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        end()
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)

    return prepare


def _is_stopped(pid: int) -> bool:
    """Whether SIGSTOP stopped it: state T of /proc/<pid>/stat, see proc_pid_stat(5)."""
    with contextlib.suppress(OSError):
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"
    return False
