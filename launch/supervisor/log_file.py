"""Log files of a job: one for each worker, with all attempts in order."""

import contextlib
import errno
import os
import pathlib
import stat
import time

RUN_MARK = "config.json"  # the trainer writes it when it creates the run

MAX_KEPT_BYTES = 1 << 20


class WorkerLog:
    """Log `<run>/logs/<name>.log`, written once the trainer has created the run.

    The trainer refuses a directory that is not empty and not a run, and a job that
    never began must leave nothing; until then the lines are kept in memory. Without a
    `run_dir` nothing is written.
    """

    def __init__(self, run_dir: str | None, name: str, attempt: int) -> None:
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._writes = run_dir is not None
        self._mark = pathlib.Path(run_dir or os.devnull) / RUN_MARK
        self.begun = False  # whether the trainer has created the run
        self._kept = f"--- attempt {attempt}, {started}\n".encode()
        self.path = self._mark.with_name("logs") / f"{name}.log"

    def write(self, chunk: bytes) -> None:
        """Appends `chunk`, or keeps it until that is possible."""
        if not self._writes:
            return
        self._kept = (self._kept + chunk)[-MAX_KEPT_BYTES:]
        with contextlib.suppress(OSError):  # lost storage may come back
            if not self.begun:
                self._mark.stat()
                self.begun = True
            self.path.parent.mkdir(exist_ok=True)
            with open(self.path, "ab", opener=_open_regular) as file:
                file.write(self._kept)
            self._kept = b""


def _open_regular(path: str, flags: int) -> int:
    """Opens a regular file only: other users may write links or pipes there."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return descriptor
