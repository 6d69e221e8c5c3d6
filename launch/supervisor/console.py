"""Console of a job: lines of workers, messages of the launcher, a progress line."""

import collections
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from launch.supervisor.heartbeat_file import HeartbeatFile

LINE_EVERY_SECS = 30.0  # between progress lines if they are not on a terminal
SILENT_SECS = 5.5  # without any line; workers write after 5 s, half a second is spare
_START_SECS = 1.0  # time that Python needs before the console exists
MAX_WAITING = 10_000  # texts that are not written yet; the oldest are dropped
CLOSE_SECS = 2.0  # limit for writing the rest when the job is over
_REDRAW_SECS = 1.0
_CLEAR = "\r\033[K"


class OutputThread:
    """Writes to a file in a separate thread, so that a slow reader delays nothing.

    If a pipe is full, the newest texts wait; if it is closed, or the terminal is gone,
    they are lost. Neither ends the job.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: collections.deque[tuple[TextIO, str]] = collections.deque(
            maxlen=MAX_WAITING
        )
        self._changed = threading.Condition()
        self._busy = False
        threading.Thread(target=self._run, daemon=True).start()

    def write(self, out: TextIO, text: str) -> None:
        """Queues `text`; returns at once."""
        with self._changed:
            self._waiting.append((out, text))
            self._changed.notify_all()

    def drain(self, secs: float) -> None:
        """Waits until all is written, after `secs` at the latest."""
        end = self._clock() + secs
        with self._changed:
            while (self._waiting or self._busy) and self._clock() < end:
                self._changed.wait(0.05)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._waiting:
                    self._changed.wait()
                out, text = self._waiting.popleft()
                self._busy = True
            try:
                _write_all(out, text)
            except (OSError, ValueError):  # closed; the workers' logs have it all
                continue


class Console:
    """Shows the lines of workers on stdout, everything else on stderr.

    On a terminal the progress line stays at the bottom and is drawn again.
    """

    def __init__(
        self, clock: Callable[[], float], *, name: str = "launch.local"
    ) -> None:
        self._name = name
        self._out: TextIO = sys.stdout
        self._err: TextIO = sys.stderr
        # One thread for both keeps their order.
        self._out_thread = self._err_thread = OutputThread()
        if _identify_file(self._out) != _identify_file(self._err):
            self._err_thread = OutputThread()
        self._clock = clock
        self._live = self._err.isatty()
        self._drawn = 0  # lines
        self._next_secs = 0.0
        self._wrote = clock() - _START_SECS
        self._last: tuple[float, int] | None = None

    def show_worker_line(self, name: str, text: str) -> None:
        """Shows one line of the worker `name`."""
        self._clear_progress()
        self._wrote = self._clock()
        self._out_thread.write(self._out, f"[{name}] {text}\n")

    def announce(self, text: str) -> None:
        """Shows one line of the launcher."""
        self.echo_error(f"{self._name}: {text}")

    def echo_error(self, text: str) -> None:
        """Shows an earlier line of a worker on stderr."""
        self._clear_progress()
        self._wrote = self._clock()
        self._err_thread.write(self._err, f"{text}\n")

    def remind(self, text: str) -> None:
        """Shows one line of the launcher, if nothing was shown for SILENT_SECS."""
        if self._is_silent():
            self.announce(text)

    def _is_silent(self) -> bool:
        return self._clock() - self._wrote >= SILENT_SECS

    def close(self) -> None:
        """Waits up to CLOSE_SECS until the rest is written."""
        for thread in (self._out_thread, self._err_thread):
            thread.drain(CLOSE_SECS)

    def show_progress(self, beats: Sequence[HeartbeatFile], *, restarts: str) -> None:
        """Shows step and phase of the slowest worker, if an update is due.

        An update is also due when nothing else was shown for SILENT_SECS.
        """
        now, signed = self._clock(), any(beat.step is not None for beat in beats)
        due = signed and now >= self._next_secs
        if not beats or not (due or self._is_silent()):
            return
        self._next_secs = now + (_REDRAW_SECS if self._live else LINE_EVERY_SECS)
        text = self._format_status(beats, now) if signed else "starting"
        text += f" · {len(beats)} workers · restarts {restarts}"
        if not restarts:
            text = "preparing the data set"
        if self._live:
            self._draw([text])
        else:
            self.announce(text)

    def show_table(self, describe: Callable[[], Sequence[str]]) -> None:
        """Draws lines at the bottom of a terminal, every second.

        Elsewhere the first one is shown when nothing else was for SILENT_SECS.

        Args:
          describe: returns the lines; it is called when they are due.
        """
        if not self._live:
            if self._is_silent():
                self.announce(describe()[0])
        elif self._clock() >= self._next_secs:
            self._next_secs = self._clock() + _REDRAW_SECS
            width = shutil.get_terminal_size().columns
            self._draw([line[: width - 1] for line in describe()])

    def _draw(self, lines: Sequence[str]) -> None:
        """Replaces what is drawn, in one piece, so that nothing flickers."""
        text = "\n".join(lines)
        self._err_thread.write(self._err, f"{_clear_lines(max(1, self._drawn))}{text}")
        self._drawn, self._wrote = len(lines), self._clock()

    def _format_status(self, beats: Sequence[HeartbeatFile], now: float) -> str:
        slowest = min(beats, key=lambda beat: -1 if beat.step is None else beat.step)
        step = slowest.step or 0
        return f"step {step} · {slowest.phase}{self._speed(now, step)}"

    def _speed(self, now: float, step: int) -> str:
        before, self._last = self._last, (now, step)
        if before is None or now <= before[0] or step <= before[1]:
            return ""
        return f" · {(step - before[1]) / (now - before[0]):.1f} steps/s"

    def _clear_progress(self) -> None:
        if self._drawn:
            self._err_thread.write(self._err, _clear_lines(self._drawn))
            self._drawn = 0


def _clear_lines(count: int) -> str:
    """Control sequences that clear the line of the cursor and those above it."""
    above = "\033[A" * (count - 1)  # ECMA-48: cursor up; erase to the end of screen
    return f"\r{above}\033[J" if above else _CLEAR


def _identify_file(out: TextIO) -> object:
    """Identifies the file of a stream; stdout and stderr may be the same file."""
    try:
        status = os.fstat(out.fileno())
    except (OSError, ValueError):  # not a file of the system
        return id(out)
    return (status.st_dev, status.st_ino)


def _write_all(out: TextIO, text: str) -> None:
    """Writes all of `text` without the buffer of the stream.

    A thread that waits for a reader would hold the lock of the buffer when Python
    exits.
    """
    try:
        descriptor = out.fileno()
    except (OSError, ValueError):
        out.write(text)
        return
    rest = text.encode(out.encoding or "utf-8", errors="backslashreplace")
    while rest:
        rest = rest[os.write(descriptor, rest) :]
