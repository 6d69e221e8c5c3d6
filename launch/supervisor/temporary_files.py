"""A temporary directory that goes with its process, or else with the next one's start.

The lock on the file inside is the kernel's: it is free when its holder is dead, however
that died, and in whichever container of this machine it ran.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from launch.command_line import UsageError

PREFIX = "launch-"
LOCK = "lock"


@contextlib.contextmanager
def create_directory() -> Iterator[pathlib.Path]:
    """Creates one, removed at the end; those of dead processes are removed first.

    Raises:
      UsageError: none can be made.
    """
    try:
        root = pathlib.Path(tempfile.gettempdir())
        remove_abandoned(root)
        made = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        lock = _create_locked(made / LOCK)
    except OSError as error:
        raise UsageError(
            f"no temporary directory can be made ({error.strerror or error}); name one "
            "that you may write to in TMPDIR"
        ) from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def remove_abandoned(root: pathlib.Path) -> None:
    """Removes directories of this user below `root` whose process is surely dead."""
    for lock in root.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):  # its process lives, or it is another user's
            if lock.parent.is_symlink() or lock.parent.stat().st_uid != os.getuid():
                continue
            held = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(held)


def _create_locked(path: pathlib.Path) -> int:
    """Opens the file `path`, which has its name only when it has its lock."""
    beside = path.with_name(f".{path.name}")
    descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.rename(beside, path)
    return descriptor
