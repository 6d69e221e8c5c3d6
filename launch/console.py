"""What a job shows: every worker's lines, the launcher's own, one line of progress."""

import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from launch.heartbeat import Heartbeat

LINE_EVERY_SECS = 30.0  # between progress lines where they cannot overwrite each other
_REDRAW_SECS = 1.0
_CLEAR = "\r\033[K"


class Console:
    """Workers' lines go to stdout, everything else to stderr.

    On a terminal the progress line stays at the bottom and is drawn again.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._out: TextIO = sys.stdout
        self._err: TextIO = sys.stderr
        self._clock = clock
        self._live = self._err.isatty()
        self._drawn = False
        self._next_secs = 0.0
        self._last: tuple[float, int] | None = None

    def line(self, name: str, text: str) -> None:
        """One line of the worker `name`."""
        self._wipe()
        print(f"[{name}] {text}", file=self._out, flush=True)

    def say(self, text: str) -> None:
        """One line of the launcher."""
        self._wipe()
        print(f"launch.local: {text}", file=self._err, flush=True)

    def repeat(self, text: str) -> None:
        """A line that a worker wrote before, where errors are read."""
        self._wipe()
        print(text, file=self._err, flush=True)

    def progress(self, beats: Sequence[Heartbeat], *, restarts: str) -> None:
        """Shows the slowest worker's step and phase, if it is time to."""
        now = self._clock()
        if now < self._next_secs or not beats:
            return
        self._next_secs = now + (_REDRAW_SECS if self._live else LINE_EVERY_SECS)
        if all(beat.step is None for beat in beats):
            return
        slowest = min(beats, key=lambda beat: -1 if beat.step is None else beat.step)
        step = slowest.step or 0
        text = f"step {step} · {slowest.phase}{self._speed(now, step)}"
        text += f" · {len(beats)} workers · restarts {restarts}"
        if self._live:
            print(f"{_CLEAR}{text}", end="", file=self._err, flush=True)
            self._drawn = True
        else:
            self.say(text)

    def _speed(self, now: float, step: int) -> str:
        before, self._last = self._last, (now, step)
        if before is None or now <= before[0] or step <= before[1]:
            return ""
        return f" · {(step - before[1]) / (now - before[0]):.1f} steps/s"

    def _wipe(self) -> None:
        if self._drawn:
            print(_CLEAR, end="", file=self._err, flush=True)
            self._drawn = False
