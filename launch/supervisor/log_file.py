"""The log files of a job: one a worker, all attempts after each other."""

import contextlib
import errno
import os
import pathlib
import stat
import time

RUN_MARK = "config.json"  # the trainer wrote it: from then on it is a run

MAX_KEPT_BYTES = 1 << 20


class WorkerLog:
    """Log `<run>/logs/<name>.log`; nothing is written before the trainer made the run.

    The trainer refuses a directory that is not empty and not a run, and a job that
    never began leaves nothing; until then the few lines are kept in memory. Without a
    `run_dir` nothing is ever written.
    """

    def __init__(self, run_dir: str | None, name: str, attempt: int) -> None:
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._writes = run_dir is not None
        self._mark = pathlib.Path(run_dir or os.devnull) / RUN_MARK
        self.begun = False  # the trainer made the run
        self._kept = f"--- attempt {attempt}, {started}\n".encode()
        self.path = self._mark.with_name("logs") / f"{name}.log"

    def write(self, chunk: bytes) -> None:
        """Appends, or keeps what cannot be appended yet."""
        if not self._writes:
            return
        self._kept = (self._kept + chunk)[-MAX_KEPT_BYTES:]
        with contextlib.suppress(OSError):  # a storage that is lost may come back
            if not self.begun:
                self._mark.stat()
                self.begun = True
            self.path.parent.mkdir(exist_ok=True)
            with open(self.path, "ab", opener=_open_regular) as file:
                file.write(self._kept)
            self._kept = b""


def _open_regular(path: str, flags: int) -> int:
    """Opens no link, and no pipe that would wait: others may write in that folder."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return descriptor
