"""Journal: a file of records, each there whole and once, also after a full disk."""

import os
import pathlib
from collections.abc import Callable

from trainer import files


class DurableLog:
    """Appends records to the file at `path`.

    What cannot be written is said once, kept in memory, and written with the next
    record: curves must not end a training.
    """

    def __init__(self, path: pathlib.Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._file = files.open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._end = os.fstat(self._file).st_size
        self._waiting: list[bytes] = []
        self._failing = False

    @property
    def empty(self) -> bool:
        """Whether it has no record yet."""
        return self._end == 0 and not self._waiting

    def add(self, record: bytes) -> None:
        """Hands `record` to the operating system, now or when that is possible."""
        self._waiting.append(record)
        try:
            self._write()
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._say(
                    f"{self._path} cannot be written: {error.strerror}; what belongs "
                    "there is kept in memory, trying again later"
                )
            self._failing = True

    def sync(self) -> None:
        """Makes all records durable.

        Raises:
            OSError: the disk is full or gone; nothing is lost while the process lives.
        """
        self._write()
        os.fsync(self._file)

    def _write(self) -> None:
        while self._waiting:
            record = self._waiting[0]
            try:
                written = os.write(self._file, record)
                while written < len(record):
                    written += os.write(self._file, record[written:])
            except OSError:
                os.ftruncate(self._file, self._end)  # no half record stays
                raise
            self._end += len(record)
            del self._waiting[0]
