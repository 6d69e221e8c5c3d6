"""Lets one process at a time prepare a data set."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator

from trainer import files
from trainer.errors import DataUnavailable
from trainer.monitoring.progress import CONSOLE


@contextlib.contextmanager
def preparation_lock(
    root: pathlib.Path, name: str, what: str, say: Callable[[str], object]
) -> Iterator[bool]:
    """Lets one process at a time prepare `name`; a process that dies frees its lock.

    Yields False where the file system has no locks, and others may prepare as well.

    Args:
        root: the folder in which it is prepared; it is made.
        name: of the lock.
        what: the data set in messages, such as "dataset=cifar10".
        say: receives messages for the user.

    Raises:
        DataUnavailable: nothing can be written there.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        path = root / f".{name}.preparing"
        lock = files.open_regular(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise DataUnavailable(
            f"{what} is not prepared and data_dir={root} cannot be "
            f"written: {error.filename}: {error.strerror};\nname another `data_dir`"
        ) from error
    with open(lock, "rb"):
        try:
            alone = files.lock(lock, wait=False)
        except BlockingIOError:
            say(f"waiting for another process that prepares {name} in {root}")
            with CONSOLE.phase(f"waiting for who prepares {name}"):
                alone = files.lock(lock, wait=True)
        yield alone
