"""What a job shows: every worker's lines, the launcher's own, one line of progress."""

import collections
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from launch.heartbeat import Heartbeat

LINE_EVERY_SECS = 30.0  # between progress lines where they cannot overwrite each other
SILENT_SECS = 5.5  # without any line; workers speak after 5 s and have half a second
_START_SECS = 1.0  # that Python takes before there is a console
MAX_WAITING = 10_000  # texts that a console has not taken; the oldest are dropped
CLOSE_SECS = 2.0  # for the rest, when the job is over
_REDRAW_SECS = 1.0
_CLEAR = "\r\033[K"


class Sink:
    """Writes to a file in a thread of its own, so that nobody waits for who reads it.

    A pipe that nobody empties keeps the newest texts waiting; a closed one, or a
    terminal that is gone, loses them. Neither ends anything.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: collections.deque[tuple[TextIO, str]] = collections.deque(
            maxlen=MAX_WAITING
        )
        self._changed = threading.Condition()
        self._busy = False
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, out: TextIO, text: str) -> None:
        """Returns at once."""
        with self._changed:
            self._waiting.append((out, text))
            self._changed.notify_all()

    def drain(self, secs: float) -> None:
        """Returns when all is written, after `secs` at the latest."""
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
                _write(out, text)
            except (OSError, ValueError):  # closed; the workers' logs have it all
                continue


class Console:
    """Workers' lines go to stdout, everything else to stderr.

    On a terminal the progress line stays at the bottom and is drawn again.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._out: TextIO = sys.stdout
        self._err: TextIO = sys.stderr
        self._out_sink = self._err_sink = Sink()  # one for both keeps their order
        if _file(self._out) != _file(self._err):
            self._err_sink = Sink()
        self._clock = clock
        self._live = self._err.isatty()
        self._drawn = False
        self._next_secs = 0.0
        self._wrote = clock() - _START_SECS
        self._last: tuple[float, int] | None = None

    def line(self, name: str, text: str) -> None:
        """One line of the worker `name`."""
        self._wipe()
        self._wrote = self._clock()
        self._out_sink.put(self._out, f"[{name}] {text}\n")

    def say(self, text: str) -> None:
        """One line of the launcher."""
        self.repeat(f"launch.local: {text}")

    def repeat(self, text: str) -> None:
        """A line that a worker wrote before, where errors are read."""
        self._wipe()
        self._wrote = self._clock()
        self._err_sink.put(self._err, f"{text}\n")

    def remind(self, text: str) -> None:
        """One line of the launcher, if nothing was shown for SILENT_SECS."""
        if self._silent():
            self.say(text)

    def _silent(self) -> bool:
        return self._clock() - self._wrote >= SILENT_SECS

    def close(self) -> None:
        """Lets who reads take the rest, for a moment."""
        for sink in (self._out_sink, self._err_sink):
            sink.drain(CLOSE_SECS)

    def progress(self, beats: Sequence[Heartbeat], *, restarts: str) -> None:
        """Shows the slowest worker's step and phase, if it is time to.

        It is when nothing else was shown for SILENT_SECS, too.
        """
        now, signed = self._clock(), any(beat.step is not None for beat in beats)
        due = signed and now >= self._next_secs
        if not beats or not (due or self._silent()):
            return
        self._next_secs = now + (_REDRAW_SECS if self._live else LINE_EVERY_SECS)
        text = self._status(beats, now) if signed else "starting"
        text += f" · {len(beats)} workers · restarts {restarts}"
        if not restarts:
            text = "preparing the data set"
        if self._live:
            self._err_sink.put(self._err, f"{_CLEAR}{text}")
            self._drawn, self._wrote = True, now
        else:
            self.say(text)

    def _status(self, beats: Sequence[Heartbeat], now: float) -> str:
        slowest = min(beats, key=lambda beat: -1 if beat.step is None else beat.step)
        step = slowest.step or 0
        return f"step {step} · {slowest.phase}{self._speed(now, step)}"

    def _speed(self, now: float, step: int) -> str:
        before, self._last = self._last, (now, step)
        if before is None or now <= before[0] or step <= before[1]:
            return ""
        return f" · {(step - before[1]) / (now - before[0]):.1f} steps/s"

    def _wipe(self) -> None:
        if self._drawn:
            self._err_sink.put(self._err, _CLEAR)
            self._drawn = False


def _file(out: TextIO) -> object:
    """What tells whether two streams are one file: a terminal, or 2>&1."""
    try:
        status = os.fstat(out.fileno())
    except (OSError, ValueError):  # not a file of the system
        return id(out)
    return (status.st_dev, status.st_ino)


def _write(out: TextIO, text: str) -> None:
    """All of `text`; not through the stream's buffer, whose lock a thread that waits
    for a reader would hold when Python ends."""
    try:
        descriptor = out.fileno()
    except (OSError, ValueError):
        out.write(text)
        return
    rest = text.encode(out.encoding or "utf-8", errors="backslashreplace")
    while rest:
        rest = rest[os.write(descriptor, rest) :]
