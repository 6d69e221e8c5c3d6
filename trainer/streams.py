"""Streams: stdout and stderr whose loss does not stop the program.

The reader of a pipe may exit (`| true`), the disk behind stdout may be full, a
scheduler may close it, a terminal may support ASCII only: the work goes on in all
cases. The module needs the standard library only: `launch` imports it, too.
"""

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO

_lock = threading.RLock()
_aside: list[int] = []  # descriptors of stderr while it is hidden


class LossTolerantStream:
    """A text stream that discards text instead of raising once it cannot be written.

    Args:
        stream: where the text goes.
        before: called before each text, None: nothing.

    Attributes:
        lost: why text is discarded; "" while it is written.
        left: whether the reader closed the pipe, as `| head` does, which is no error.
    """

    def __init__(
        self, stream: TextIO, before: Callable[[], object] | None = None
    ) -> None:
        self.lost, self.left = "", False
        self._stream, self._before = stream, before
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Writes or discards `text`; returns the number of its characters."""
        if self._before is not None:
            self._before()
        if not self.lost:
            self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flushes the stream unless text is discarded."""
        if not self.lost:
            self._try(self._stream.flush)

    def _try(self, do: Callable[..., object], *given: str) -> None:
        try:
            do(*given)
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self.left = isinstance(error, BrokenPipeError)
            self.lost = getattr(error, "strerror", None) or str(error)
            with contextlib.suppress(OSError, ValueError):
                # Python flushes again at exit, and would end with exit code 120.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class CurrentStderr:
    """The current stderr, also while file descriptor 2 is redirected."""

    def write(self, text: str) -> None:
        """Writes `text`; raises OSError if that is impossible."""
        with _lock:
            if _aside:
                os.write(_aside[-1], text.encode(errors="backslashreplace"))
            else:
                sys.stderr.write(text)

    def flush(self) -> None:
        """Flushes stderr."""
        if not _aside:
            sys.stderr.flush()

    def isatty(self) -> bool:
        """Whether stderr is a terminal."""
        return os.isatty(_aside[-1]) if _aside else sys.stderr.isatty()


@contextlib.contextmanager
def keep_stderr() -> Iterator[int]:
    """Yields a second descriptor of stderr, for the time while 2 is redirected."""
    _aside.append(os.dup(2))
    try:
        yield _aside[-1]
    finally:
        with _lock:  # a thread may be writing there
            os.close(_aside.pop())


def stderr_descriptor() -> int:
    """The descriptor of stderr, also while 2 is redirected."""
    return _aside[-1] if _aside else 2


def use_utf8(stream: LossTolerantStream) -> None:
    """Sets the encoding of `stream` to UTF-8."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        stream.reconfigure(encoding="utf-8")


@contextlib.contextmanager
def tolerate_lost_streams(
    before: Callable[[], object] | None = None,
) -> Iterator[LossTolerantStream]:
    """Replaces sys.stdout and sys.stderr within the context; yields the new stdout.

    `before` is called before text that is seen at once: on stderr or a terminal.
    """
    _open_descriptors()
    replaced = sys.stdout, sys.stderr
    at_once = before if sys.stdout is not None and sys.stdout.isatty() else None
    sys.stdout = _tolerant(sys.stdout, at_once)
    sys.stderr = _tolerant(sys.stderr, before)
    try:
        yield sys.stdout
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = replaced


def _tolerant(
    stream: TextIO | None, before: Callable[[], object] | None
) -> LossTolerantStream:
    if stream is not None:
        return LossTolerantStream(stream, before)
    found = LossTolerantStream(open(os.devnull, "w"))  # noqa: SIM115  open until the process ends
    found.lost = os.strerror(errno.EBADF)
    return found


def _open_descriptors() -> None:
    """Opens /dev/null for each of descriptors 0, 1 and 2 that is closed.

    Otherwise the next file, such as a log, would get that number and any output.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is used; child processes inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
