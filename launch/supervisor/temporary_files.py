"""Creates a temporary directory, and removes those of dead processes.

The kernel releases the lock on the file inside when its holder is dead, however it
died, and in whichever container of this machine it ran.
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
    """Creates a directory and removes it at the end; first removes abandoned ones.

    Raises:
      UsageError: it cannot be created.
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
    """Removes directories of this user in `root` whose process is certainly dead."""
    for lock in root.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):  # the process is running, or of another user
            if lock.parent.is_symlink() or lock.parent.stat().st_uid != os.getuid():
                continue
            held = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(held)


def _create_locked(path: pathlib.Path) -> int:
    """Creates the file `path`, which is locked before it gets its name."""
    beside = path.with_name(f".{path.name}")
    descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.rename(beside, path)
    return descriptor
