"""Streams: stdout and stderr whose loss does not end the work.

Whoever reads may leave (`| true`), the disk behind stdout may fill, a scheduler may
close it, a terminal may know ASCII alone: what is done is done all the same. Standard
library only: `launch` imports this module, too.
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


class Lasting:
    """A text stream that takes every line, and loses those that nobody can have.

    Attributes:
        lost: why it takes lines in vain, "" while it does not.
        left: whether its reader has gone, as `| head` does: nobody misses a line.
    """

    def __init__(self, stream: TextIO) -> None:
        self.lost, self.left = "", False
        self._stream = stream
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Writes `text`; the number of its characters."""
        if not self.lost:
            self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Hands over what was written."""
        if not self.lost:
            self._try(self._stream.flush)

    def _try(self, do: Callable[..., object], *given: str) -> None:
        try:
            do(*given)
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self.left = isinstance(error, BrokenPipeError)
            self.lost = getattr(error, "strerror", None) or str(error)
            with contextlib.suppress(OSError, ValueError):
                # Python flushes once more on its way out, and would exit 120.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Terminal:
    """Stderr as it is whenever something is written, also while it is put aside."""

    def write(self, text: str) -> None:
        """Writes `text`; raises OSError where nobody can have it."""
        with _lock:
            if _aside:
                os.write(_aside[-1], text.encode(errors="backslashreplace"))
            else:
                sys.stderr.write(text)

    def flush(self) -> None:
        """Hands over what was written."""
        if not _aside:
            sys.stderr.flush()

    def isatty(self) -> bool:
        """Whether somebody looks who can see a line change."""
        return os.isatty(_aside[-1]) if _aside else sys.stderr.isatty()


@contextlib.contextmanager
def put_aside() -> Iterator[int]:
    """Gives another descriptor of stderr for while 2 is somewhere else."""
    _aside.append(os.dup(2))
    try:
        yield _aside[-1]
    finally:
        with _lock:  # a thread may be writing there
            os.close(_aside.pop())


def encode(stream: Lasting) -> None:
    """Lets `stream` write UTF-8."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        stream.reconfigure(encoding="utf-8")


@contextlib.contextmanager
def lasting() -> Iterator[Lasting]:
    """Puts such streams in place of sys.stdout and sys.stderr; gives stdout's."""
    _open_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_of, before)
    try:
        yield sys.stdout
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _of(stream: TextIO | None) -> Lasting:
    if stream is not None:
        return Lasting(stream)
    found = Lasting(open(os.devnull, "w"))  # noqa: SIM115  it lasts as long as we do
    found.lost = os.strerror(errno.EBADF)
    return found


def _open_descriptors() -> None:
    """A closed one of the first three would be given to the next file: to a journal."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number is taken; children get it, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
