"""One live line on a terminal; in a pipe or a file a line every few seconds."""

import contextlib
import shutil
import sys
from collections.abc import Callable
from typing import TextIO

EVERY_SECS = 5.0


class Progress:
    """Shows the latest of many messages.

    Args:
        now: monotonic seconds.
        out: where it goes.
    """

    def __init__(self, now: Callable[[], float], out: TextIO = sys.stderr) -> None:
        self._now, self._out = now, out
        self._live = out.isatty()
        self._shown = -EVERY_SECS
        self._open = False  # a live line waits for its end

    def update(self, message: str, *, last: bool = False) -> None:
        """Shows `message` if it is time, and in any case when it is the `last`."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            end = "\n" if last else ""
            self._write(f"\r{message[:width]}\x1b[K{end}")
            self._open = not last
        elif last or self._now() - self._shown >= EVERY_SECS:
            self._shown = self._now()
            self._write(f"{message}\n")

    def say(self, message: str) -> None:
        """Prints a line that stays."""
        clear = "\r\x1b[K" if self._live else ""
        self._write(f"{clear}{message}\n")
        self._open = False

    def close(self) -> None:
        """Ends a live line, so that what follows has its own."""
        if self._open:
            self._write("\n")
        self._open = False

    def _write(self, text: str) -> None:
        # Whoever reads may leave (`| head`): training goes on.
        with contextlib.suppress(OSError):
            self._out.write(text)
            self._out.flush()


def duration(secs: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(max(0, round(secs)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
