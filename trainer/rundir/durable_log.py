"""Durable log: appends each record to a file exactly once, even if the disk fills."""

import os
import pathlib
from collections.abc import Callable

from trainer import files


class DurableLog:
    """Appends records to a file.

    A failure does not stop the training: it is reported once through `say`, and records
    are kept in memory until they can be written.
    """

    def __init__(self, path: pathlib.Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._file = files.open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._end = os.fstat(self._file).st_size
        self._waiting: list[bytes] = []
        self._failing = False

    @property
    def empty(self) -> bool:
        """Whether the log has no records."""
        return self._end == 0 and not self._waiting

    def add(self, record: bytes) -> None:
        """Gives `record` to the operating system, now or as soon as possible."""
        self._waiting.append(record)
        try:
            self._write()
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._say(
                    f"{self._path} cannot be written: {error.strerror}; its records "
                    "are kept in memory and will be written later"
                )
            self._failing = True

    def sync(self) -> None:
        """Flushes all records to the disk.

        Raises:
            OSError: the disk is full or gone; the records are still in memory.
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
                os.ftruncate(self._file, self._end)  # remove the incomplete record
                raise
            self._end += len(record)
            del self._waiting[0]
