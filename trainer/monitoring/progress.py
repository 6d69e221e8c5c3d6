"""Progress: a live line on a terminal; in a pipe or a file, a line every few seconds.

Everything that a command does belongs to a named phase. When nothing was written for
five seconds, a thread writes the name of the phase and how long it has lasted.
"""

import contextlib
import dataclasses
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager as ContextManager
from typing import TextIO

from trainer import streams
from trainer.monitoring.printable import printable, single_line

EVERY_SECS = 5.0
FIRST_SECS = 0.5  # of silence, before the first line of a command
REDRAW_SECS = 0.1  # between updates of the live line while images are counted
EARLY_SECS = 1.0  # about the duration of one compiled call
LOOK_SECS = 0.25  # between checks of the thread
BAR_CHARS = 12
OnBatch = Callable[[int], object]  # called with the number of images just done


@dataclasses.dataclass
class _Phase:
    """A named phase.

    Attributes:
        name: what is being done.
        start: when it began.
        message: its latest progress line, "" if there was none.
        said: whether such a line was shown.
    """

    name: str
    start: float
    message: str = ""
    said: bool = False


class Progress:
    """Writes progress messages, at most one every few seconds.

    Args:
        now: a clock that returns monotonic seconds.
        out: the output; None: stderr, also while TensorFlow's lines are hidden.

    Attributes:
        command: the name of the command that this process runs; None in a script.
        translate: applied to lines that stay; commands name options as flags.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, out: TextIO | None = None
    ) -> None:
        self.command: str | None = None
        self.translate: Callable[[str], str] = str
        self._now, self._out = now, out or streams.CurrentStderr()
        self._shown = -EVERY_SECS
        self._wrote = 0.0
        self._patience = EVERY_SECS  # of silence, before the thread writes
        self._writing = False
        self._open = False  # whether the cursor is on an unfinished live line
        self._passing = False  # whether that line is valid only during its phase
        self._early = 0.0  # messages are due earlier by this than those of the thread
        self._phases: list[_Phase] = []
        self._lock = threading.RLock()

    @property
    def _live(self) -> bool:
        return self._out.isatty()

    def update(self, message: str, *, last: bool = False) -> None:
        """Shows `message` if an update is due; the `last` message is always shown."""
        if self._live:
            self._draw(message, last=last)
        elif last or self._now() - self._shown >= EVERY_SECS - self._early:
            self._shown = self._now()
            self._write(f"{single_line(message)}\n", self._shown)

    def say(self, message: str) -> None:
        """Prints a line that stays."""
        clear = "\r\x1b[K" if self._live else ""
        message = printable(self.translate(message))
        self._write(f"{clear}{message}\n", self._now())
        self._open = False
        self._draw_phase()

    def close(self) -> None:
        """Ends a live line, so that the next output starts on a new line."""
        if self._open:
            self._write("\n", self._now())
        self._open = False

    def make_room(self) -> None:
        """Removes the live line before text of somebody else, who is heard then."""
        if self._writing:
            return
        if self._open:
            self._write("\r\x1b[K", self._now())
            self._open = False
        self._wrote, self._patience = self._now(), EVERY_SECS

    @contextlib.contextmanager
    def phase(self, name: str, *, announced: bool = False) -> Iterator[None]:
        """Makes `name` the current phase within the context; phases may be nested.

        A terminal shows it at once. Elsewhere a line is written after EVERY_SECS, or at
        once if it is `announced` and a command runs.
        """
        phase = _Phase(name, self._now())
        if not self._phases:
            self._wrote = phase.start
        self._phases.append(phase)
        if announced and self.command and not self._live:
            self._write(f"{name}\n", phase.start)
        self._draw_phase()
        try:
            yield
        finally:
            self._phases.remove(phase)
            if self._passing:
                self._write("\r\x1b[K", self._now())
                self._open = False
                self._draw_phase()

    def _draw_phase(self) -> None:
        """Draws the name of a phase inside that of the command, on a terminal."""
        if len(self._phases) > 1 and self._live and (self._passing or not self._open):
            self._draw(self._phases[-1].name)
            self._passing = True

    @contextlib.contextmanager
    def count(self, total: int, what: str, unit: str = "images") -> Iterator[OnBatch]:
        """Starts a phase that counts images; yields a function that takes each count.

        In a pipe nothing is shown if the phase takes less than EVERY_SECS.
        """
        with self.phase(what):
            counted = _Counted(self, self._phases[-1], total, unit)
            try:
                yield counted.tick
            finally:
                counted.end()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Writes no reminders within the context: the command waits for its user."""
        phases, self._phases = self._phases, []
        try:
            yield
        finally:
            self._phases = phases

    def remind(self) -> None:
        """Writes the current phase if nothing was written for EVERY_SECS.

        The first line of a command comes after FIRST_SECS.
        """
        now = self._now()
        with self._lock:
            if now - self._wrote < self._patience or not self._phases:
                return
            phase = self._phases[-1]
            text = (
                f"{phase.message or phase.name} ({duration(now - phase.start)} so far)"
            )
            phase.said = True
            self._show(text, now)
            self._passing = self._open

    @contextlib.contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """Starts the phase of a command; a thread calls `remind` regularly."""
        ended, self._early = threading.Event(), EARLY_SECS
        self.command, self._patience = name, FIRST_SECS

        def look() -> None:
            while not ended.wait(LOOK_SECS):
                self.remind()

        thread = threading.Thread(target=look, daemon=True)
        with self.phase(f"{name} is working"):
            thread.start()
            try:
                yield
            finally:
                ended.set()
                self._early, self._patience = 0.0, EVERY_SECS
                self.command = None
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
        # The reader may close the pipe (`| head`): training goes on.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._wrote, self._patience, self._passing = now, EVERY_SECS, False
            self._writing = True
            try:
                self._out.write(text)
                self._out.flush()
            finally:
                self._writing = False


class _Counted:
    """Counter of the images of one phase."""

    def __init__(self, shown: Progress, phase: _Phase, total: int, unit: str) -> None:
        self._shown, self._phase, self._total, self._unit = shown, phase, total, unit
        self._done, self._drawn = 0, phase.start

    def tick(self, count: int) -> None:
        """Adds `count` and shows the progress if an update is due."""
        now, shown = self._shown._now(), self._shown
        self._done += count
        secs = max(now - self._phase.start, 1e-9)
        left = secs / max(self._done, 1) * max(0, self._total - self._done)
        bar = f" {draw_bar(self._done, self._total)}" if shown._live else ""
        self._phase.message = (
            f"{self._phase.name}:{bar} {self._done:,} of {self._total:,} {self._unit}  "
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
        """Ends the live line if one was shown."""
        if self._phase.said:
            self._shown.close()


CONSOLE = Progress()  # the one of this process


def draw_bar(done: int, total: int) -> str:
    """Draws how much of `total` is done, in characters that every terminal has.

    >>> draw_bar(5, 20)
    '[===>        ]'
    """
    full = BAR_CHARS * min(done, total) // max(total, 1)
    return f"[{'=' * full}{'>' * (full < BAR_CHARS)}{' ' * (BAR_CHARS - full - 1)}]"


def duration(secs: float) -> str:
    """Formats seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(max(0, round(secs)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class PhaseTimer:
    """Timer of phases, which must not be nested.

    Args:
        now: a clock that returns monotonic seconds.
        show: returns a context that shows the phase of that name.

    Attributes:
        seconds: total seconds by phase.
        last: seconds of the last time of each phase.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        show: Callable[[str], ContextManager] = contextlib.nullcontext,
    ) -> None:
        self.now, self._show = now, show
        self.seconds: dict[str, float] = defaultdict(float)
        self.last: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the seconds spent within the context to `name`."""
        start = self.now()
        try:
            with self._show(name):
                yield
        finally:
            self.last[name] = self.now() - start
            self.seconds[name] += self.last[name]
