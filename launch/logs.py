"""The log files of a job: one a worker, all attempts after each other."""

import contextlib
import pathlib
import shutil
import time
from typing import IO

from launch.commandline import UsageError


class Logs:
    """`<run>/logs/<name>.log`; the directory appears with the first file."""

    def __init__(self, run_dir: str) -> None:
        self.directory = pathlib.Path(run_dir) / "logs"
        self._made = [
            path
            for path in (self.directory, *self.directory.parents)
            if not path.exists()
        ]

    def path(self, name: str) -> pathlib.Path:
        """Where the lines of `name` go."""
        return self.directory / f"{name}.log"

    def open(self, name: str, attempt: int) -> IO[bytes]:
        """A file to append to, with a line that says which attempt begins.

        Raises:
          UsageError: the run's directory cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            file = self.path(name).open("ab")
        except OSError as error:
            raise UsageError(
                f"--run_dir={self.directory.parent} cannot be written "
                f"({error.strerror}); choose another"
            ) from error
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        file.write(f"--- attempt {attempt}, {started}\n".encode())
        return file

    def take_back(self) -> None:
        """Leaves no trace of a job that never began: wrong usage writes nothing."""
        if self.directory in self._made:
            shutil.rmtree(self.directory, ignore_errors=True)
        for path in self._made[1:]:
            with contextlib.suppress(OSError):  # something else is in it by now
                path.rmdir()
