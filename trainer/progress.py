"""Progress: one live line on a terminal; in a pipe or a file a line every few seconds.

Whatever a command does, it does in a phase that has a name; a thread says which, and
for how long, as often as nothing else was written for five seconds.
"""

import contextlib
import dataclasses
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from trainer import streams
from trainer.printable import printable, single_line

EVERY_SECS = 5.0
REDRAW_SECS = 0.1  # of the live line, while images are counted
EARLY_SECS = 1.0  # a call of steps takes about as long
LOOK_SECS = 0.5  # between the looks of the thread
Tick = Callable[[int], object]  # called with the number of images just done


@dataclasses.dataclass
class _Phase:
    """What is being done since when; `message` is its last line, if it had one."""

    name: str
    start: float
    message: str = ""
    said: bool = False


class Progress:
    """Shows the latest of many messages.

    Args:
        now: monotonic seconds.
        out: where it goes; None: stderr, also while TensorFlow's lines are hidden.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, out: TextIO | None = None
    ) -> None:
        self._now, self._out = now, out or streams.Terminal()
        self._shown = -EVERY_SECS
        self._wrote = 0.0
        self._open = False  # a live line waits for its end
        self._reminded = False  # and it is the thread's
        self._early = 0.0  # seconds by which messages come before the thread
        self._phases: list[_Phase] = []
        self._lock = threading.RLock()

    @property
    def _live(self) -> bool:
        return self._out.isatty()

    def update(self, message: str, *, last: bool = False) -> None:
        """Shows `message` if it is time, and in any case when it is the `last`."""
        if self._live:
            self._draw(message, last=last)
        elif last or self._now() - self._shown >= EVERY_SECS - self._early:
            self._shown = self._now()
            self._write(f"{single_line(message)}\n", self._shown)

    def say(self, message: str) -> None:
        """Prints a line that stays."""
        clear = "\r\x1b[K" if self._live else ""
        self._write(f"{clear}{printable(message)}\n", self._now())
        self._open = False

    def close(self) -> None:
        """Ends a live line, so that what follows has its own."""
        if self._open:
            self._write("\n", self._now())
        self._open = False

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Inside, this is what is being done; the innermost phase counts."""
        phase = _Phase(name, self._now())
        if not self._phases:
            self._wrote = phase.start
        self._phases.append(phase)
        try:
            yield
        finally:
            self._phases.remove(phase)
            if self._reminded:  # that line was for as long as it lasts
                self._write("\r\x1b[K", self._now())
                self._open = self._reminded = False

    @contextlib.contextmanager
    def count(self, total: int, what: str, unit: str = "images") -> Iterator[Tick]:
        """A phase whose images are counted: yields what to call with each number done.

        In a pipe it shows nothing if it takes less than EVERY_SECS.
        """
        with self.phase(what):
            counted = _Counted(self, self._phases[-1], total, unit)
            try:
                yield counted.tick
            finally:
                counted.end()

    def remind(self) -> None:
        """Says what is being done if nothing was written for EVERY_SECS."""
        now = self._now()
        with self._lock:
            if now - self._wrote < EVERY_SECS or not self._phases:
                return
            phase = self._phases[-1]
            text = (
                f"{phase.message or phase.name} ({duration(now - phase.start)} so far)"
            )
            phase.said = True
            self._show(text, now)
            self._reminded = self._open

    @contextlib.contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """Inside, nothing is silent for longer than EVERY_SECS."""
        ended, self._early = threading.Event(), EARLY_SECS

        def look() -> None:
            while not ended.wait(LOOK_SECS):
                self.remind()

        thread = threading.Thread(target=look, daemon=True)
        with self.phase(name):
            thread.start()
            try:
                yield
            finally:
                ended.set()
                self._early = 0.0
                self.close()

    def _show(self, message: str, now: float) -> None:
        if self._live:
            self._draw(message)
        else:
            self._write(f"{single_line(message)}\n", now)

    def _draw(self, message: str, *, last: bool = False) -> None:
        width = shutil.get_terminal_size().columns - 1
        end = "\n" if last else ""
        self._write(f"\r{single_line(message)[:width]}\x1b[K{end}", self._now())
        self._open = not last

    def _write(self, text: str, now: float) -> None:
        # Whoever reads may leave (`| head`): training goes on.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._wrote, self._reminded = now, False
            self._out.write(text)
            self._out.flush()


class _Counted:
    """Images of one phase."""

    def __init__(self, shown: Progress, phase: _Phase, total: int, unit: str) -> None:
        self._shown, self._phase, self._total, self._unit = shown, phase, total, unit
        self._done, self._drawn = 0, phase.start

    def tick(self, count: int) -> None:
        """Takes note of `count` more."""
        now, shown = self._shown._now(), self._shown
        self._done += count
        secs = max(now - self._phase.start, 1e-9)
        left = secs / max(self._done, 1) * max(0, self._total - self._done)
        self._phase.message = (
            f"{self._phase.name}: {self._done:,} of {self._total:,} {self._unit}  "
            f"ETA {duration(left)}  {self._done / secs:,.0f} {self._unit}/s"
        )
        if shown._live:
            due = now - self._drawn >= REDRAW_SECS
        else:
            due = now - shown._wrote >= EVERY_SECS - shown._early
        if due or (self._phase.said and self._done >= self._total):
            self._drawn, self._phase.said = now, True
            shown._show(self._phase.message, now)

    def end(self) -> None:
        """Leaves no half line behind."""
        if self._phase.said:
            self._shown.close()


CONSOLE = Progress()  # of this process


def duration(secs: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(max(0, round(secs)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
