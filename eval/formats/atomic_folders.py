"""Writes folders atomically: complete or not at all.

A folder is created inside a hidden folder and renamed when it is complete: a process
that is killed leaves the old folder or the new one, never a mixture. The next process
that writes there removes hidden folders of killed processes.
"""

import contextlib
import ctypes
import errno
import os
import pathlib
import shutil
import signal
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from trainer import files
from trainer.contract import STOPS, stop_signals
from trainer.errors import Interrupted, InvalidInput
from trainer.storage import as_failure, as_refusal

HIDDEN, LOCK = ".writing-", "lock"
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of linux/fs.h

_NO_RENAME = (
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EXDEV,
    errno.EPERM,
    errno.EACCES,
)


@contextlib.contextmanager
def staging_folder(folder: pathlib.Path, what: str) -> Iterator[pathlib.Path]:
    """Creates a hidden folder inside `folder`; removes it at the end and after signals.

    `what` is the subject of messages, such as "the report".

    Raises:
        InvalidInput: `folder` cannot be created or written.
        TrainingFailed: the storage cannot hold the files; nothing is left.
        Interrupted: SIGTERM or SIGHUP was received (143, 129).
        PeerLost: the disk is full or gone.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hidden, lock = _create_hidden(folder)
    except OSError as error:
        told = f"{what} cannot be written to {folder}"
        raise as_refusal(told, error, restart=False) from error
    try:
        with _stop_on_signals():
            yield hidden
    except OSError as error:
        told = f"{what} could not be written, nothing was kept in {folder}"
        raise as_failure(told, error) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        os.close(lock)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only if it is empty


def _create_hidden(folder: pathlib.Path) -> tuple[pathlib.Path, int]:
    """Creates a locked folder in `folder`; removes those of killed processes."""
    files.remove_leftovers(folder)
    for left in folder.glob(f"{HIDDEN}*"):
        _remove_left(left)
    while True:
        hidden = pathlib.Path(tempfile.mkdtemp(prefix=HIDDEN, dir=folder))
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            return hidden, _lock_file(hidden / LOCK, new=True)
        # Another process removed it: between the two calls it looked like one left.


def _remove_left(left: pathlib.Path) -> None:
    """Removes the hidden folder `left`, unless another process is writing there.

    A killed process may have left it without a lock: before it made one, or while it
    removed the folder.
    """
    with contextlib.suppress(OSError):
        lock = _lock_file(left / LOCK, new=False)
        try:
            shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(lock)


def _lock_file(path: pathlib.Path, *, new: bool) -> int:
    """Opens and locks `path`; the lock ends with the process.

    If the file system has no locks, a `new` file is opened without one.

    Raises:
        FileNotFoundError: another process has removed the file.
        OSError: another process holds the lock, or this cannot be known.
    """
    lock = files.open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        if not files.lock(lock, wait=False) and not new:
            raise OSError(errno.ENOLCK, "the file system has no locks", str(path))
        if not os.path.samestat(os.fstat(lock), os.stat(path)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    except OSError:
        os.close(lock)
        raise
    return lock


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP raise Interrupted, so that `finally` is executed."""

    def stop(number: int, _frame: object) -> None:
        name = signal.Signals(number)
        raise Interrupted(f"stopped by {name.name}; nothing was kept", STOPS[name])

    taken = [n for n in stop_signals() if n in (signal.SIGTERM, signal.SIGHUP)]
    if threading.current_thread() is not threading.main_thread():
        taken = []  # a script's own thread, which signals do not reach
    before = {number: signal.signal(number, stop) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def publishing() -> Iterator[None]:
    """Delays stop signals to the end of the context, in which names are changed.

    Otherwise Ctrl-C could leave a new model beside an old manifest, or none of both.
    """
    waiting: list[int] = []
    taken = [n for n in STOPS if callable(signal.getsignal(n))]
    if threading.current_thread() is not threading.main_thread():
        taken = []
    taken.sort(key=lambda number: number != signal.SIGINT)  # back in its place last
    before = {number: signal.getsignal(number) for number in taken}
    try:
        for number in taken:
            signal.signal(number, lambda number, _: waiting.append(number))
        yield
    finally:
        for number in reversed(taken):
            signal.signal(number, before[number])
        if waiting:
            signal.raise_signal(waiting[0])


def replace(made: pathlib.Path, final: pathlib.Path, seal: str | None = None) -> None:
    """Renames the folder `made` to `final`; an older `final` gets the name of `made`.

    This is atomic if the file system can exchange names; otherwise `final` is missing
    for a moment. If folders cannot be renamed at all (mounted buckets), the files are
    moved one by one: `seal`, the file that marks a complete folder, is removed first
    and moved last.

    Raises:
        OSError: it cannot be renamed.
    """
    with publishing():
        try:
            _rename(made, final)
        except OSError as error:
            if seal is None or error.errno not in _NO_RENAME:
                raise
            _move(made, final, seal)
    files.sync_directory(final.parent)


def _rename(made: pathlib.Path, final: pathlib.Path) -> None:
    if not final.exists():
        os.rename(made, final)
        return
    try:
        _exchange(made, final)
    except OSError:
        aside = made.with_name("replaced")
        os.rename(final, aside)
        try:
            os.rename(made, final)
        except OSError:
            os.rename(aside, final)
            raise


def _move(made: pathlib.Path, final: pathlib.Path, seal: str) -> None:
    """Moves every file, `seal` last; removes all other files from `final`."""
    (final / seal).unlink(missing_ok=True)
    new = [p.relative_to(made) for p in made.rglob("*") if p.is_file()]
    for old in [p for p in final.rglob("*") if p.is_file()]:
        if old.relative_to(final) not in new:
            old.unlink()
    for name in sorted(new, key=lambda name: str(name) == seal):
        (final / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(made / name, final / name)


def _exchange(one: pathlib.Path, other: pathlib.Path) -> None:
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = os.fsencode(one), os.fsencode(other)
    if call(_HERE, names[0], _HERE, names[1], _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))


def check_replaceable(folder: pathlib.Path, names: Collection[str], what: str) -> None:
    """Checks that `folder` contains only files called `names`.

    `what`, such as "the report", will be written there and replace the whole folder.

    Raises:
        InvalidInput: it holds other files, is a file, or something is mounted there.
    """
    if os.path.ismount(folder):
        raise InvalidInput(
            f"{what} cannot be written to {folder}: something is mounted there, and it"
            " could not be replaced as a whole;\nname a folder in it with `out_dir`"
        )
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(
            f"{what} cannot be written to {folder}, which is a file; name a folder with"
            " `out_dir`"
        )
    found = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    for name in found:
        if name not in names and not name.startswith("."):
            raise InvalidInput(
                f"{what} cannot be written to {folder}, which holds {name}: the folder "
                "would be replaced as a whole;\nname another with `out_dir`"
            )


def check_same_content(
    folder: pathlib.Path,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    may_replace: bool,
) -> str | None:
    """Checks that the content of `folder`, described by `old`, may be replaced.

    `old` and `new` describe what was evaluated and how. Returns a message if another
    evaluation is replaced, otherwise None.

    Raises:
        InvalidInput: they differ, and one may not replace the other.
    """
    if not old or old == new:
        return None
    differ = [f"{k} {old[k]}, now {new[k]}" for k in new if old[k] != new[k]]
    if not may_replace:
        raise InvalidInput(
            f"{folder} holds another evaluation ({'; '.join(differ)});\nname another"
            " folder with `out_dir`, or remove this one"
        )
    return f"replaces what is in {folder} ({'; '.join(differ)})"
