"""Storage: classifies errors of file systems, and checks whether one can hold a run.

A table says for every error number whether the condition is temporary, so that a
restart can succeed, and what the user can do. An error that it does not list is
permanent. `as_failure` and `as_refusal` turn an OSError into the exception that ends a
command.
"""

import dataclasses
import errno
import os
import pathlib
from collections.abc import Callable, Iterator

from trainer import errors, files

SAMPLE = b"what is written here is read back and removed\n"


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What an error number means for a run.

    Attributes:
        temporary: whether the same command may succeed later.
        remedy: what the user can do, an imperative without a full stop.
    """

    temporary: bool
    remedy: str


_ROOM = Meaning(True, "make room and restart")
_AWAY = Meaning(True, "restart when the storage is back")
_BUSY = Meaning(True, "restart when the machine has more of this resource")
_RIGHT = Meaning(False, "give this user write permission, or name another directory")
_OTHER = Meaning(False, "name another directory")
_LACKS = Meaning(
    False,
    "this file system lacks a required operation (mounted buckets often do); name a "
    "directory on a disk or on NFS",
)
TABLE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _ROOM),
    **dict.fromkeys(
        (
            errno.ESTALE,
            errno.EIO,
            errno.ENOENT,  # the directory was unmounted or moved away during the run
            errno.ENODEV,
            errno.ENXIO,
            errno.ETIMEDOUT,
            errno.EAGAIN,
            errno.EINTR,
            errno.EBUSY,
            errno.EREMOTEIO,
            errno.ECONNRESET,
            errno.ECONNREFUSED,
            errno.ECONNABORTED,
            errno.ENOTCONN,
            errno.ESHUTDOWN,
            errno.EHOSTDOWN,
            errno.EHOSTUNREACH,
            errno.ENETDOWN,
            errno.ENETUNREACH,
            errno.EPIPE,
        ),
        _AWAY,
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS), _BUSY),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _RIGHT),
    errno.EROFS: Meaning(False, "mount it for writing, or name another directory"),
    errno.EFBIG: Meaning(False, "raise ulimit -f, or name another directory"),
    **dict.fromkeys(
        (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.ENOTTY),
        _LACKS,
    ),
    **dict.fromkeys(
        (
            errno.ENOTDIR,
            errno.EISDIR,
            errno.EEXIST,
            errno.ENOTEMPTY,
            errno.ENAMETOOLONG,
            errno.ELOOP,
            errno.EMLINK,
        ),
        _OTHER,
    ),
}


def meaning(error: OSError) -> Meaning:
    """Looks up `error` in the table."""
    return TABLE.get(error.errno, _OTHER)


def reason(error: OSError) -> str:
    """Formats the message of the system, with the name of the file if there is one."""
    text = error.strerror or str(error) or type(error).__name__
    return f"{text}: {error.filename}" if error.filename else text


def parse_os_error(message: str) -> OSError:
    """Finds the system error in a message of TensorFlow, which has no errno."""
    for number in TABLE:
        if os.strerror(number) in message:
            return OSError(number, message)
    return OSError(message)


def find_os_error(error: BaseException | None) -> OSError | None:
    """Finds the first OSError in the chain of causes of a library's `error`."""
    found, seen = None, set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in TABLE:
            found = error
        error = error.__cause__ or error.__context__
    return found


def is_temporary_read_error(error: OSError) -> bool:
    """Whether a file that cannot be read now may be readable later.

    ENOENT is not temporary: a file missing in an existing folder will not come back.
    """
    return meaning(error).temporary and error.errno != errno.ENOENT


def probe(
    directory: pathlib.Path, *, folders: bool = True, appends: bool = True
) -> None:
    """Tries every file operation of a run in `directory` and leaves nothing there.

    For a directory that does not exist yet, it tests the nearest existing parent.

    Args:
        directory: where the run, report or export will be written.
        folders: whether folders will be renamed there.
        appends: whether files will be appended to and changed in place there.

    Raises:
        OSError: an operation fails; the message names it.
    """
    above = nearest_existing(directory)
    folder = files.temporary_path(above / "probe")
    doing = "make a folder"
    try:
        folder.mkdir()
        for step, do in _trials(folder, appends):
            doing = step
            do()
        if folders:
            doing = "rename a folder"
            (folder / "inner").rename(folder / "renamed")
        doing = "remove a folder"
        files.delete(folder)
        if folder.exists():
            raise OSError(errno.EIO, "it still exists", str(folder))
    except OSError as error:
        text = f"cannot {doing} there ({error.strerror})"
        raise OSError(error.errno, text, str(above)) from error
    finally:
        files.delete(folder)


def nearest_existing(path: pathlib.Path) -> pathlib.Path:
    """Finds `path` or its nearest existing parent; a dangling link exists, too."""
    while not os.path.lexists(path):
        path = path.parent
    return path


def check_writable(
    directory: pathlib.Path,
    what: str,
    *,
    restart: bool = False,
    folders: bool = True,
    appends: bool = True,
) -> None:
    """Checks that `directory` can hold a run, a report or an export.

    Args:
        directory: the directory; see `probe`, also for `folders` and `appends`.
        what: subject of the message: "the run" in "the run cannot be written to PATH".
        restart: see `as_refusal`.

    Raises:
        InvalidInput: it cannot be written.
        PeerLost: it cannot be written at the moment, and `restart` is set.
    """
    try:
        probe(directory, folders=folders, appends=appends)
    except OSError as error:
        message = f"{what} cannot be written to {directory}"
        raise as_refusal(message, error, restart=restart) from error


def _trials(
    folder: pathlib.Path, appends: bool
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yields the operations to try in an empty `folder`, each a name and a function."""
    first, second, inner = folder / "first", folder / "second", folder / "inner"
    kept = []

    def create() -> None:
        kept.append(files.open_regular(first, os.O_CREAT | os.O_EXCL | os.O_RDWR))
        _write(kept[0], b"#" * len(SAMPLE) if appends else SAMPLE)

    def overwrite() -> None:  # as a lease is renewed, under its final name
        os.pwrite(kept[0], SAMPLE, 0)
        os.fsync(kept[0])

    def append() -> None:
        kept.append(os.open(second, os.O_WRONLY | os.O_APPEND))
        _write(kept[1], SAMPLE)
        os.ftruncate(kept[1], len(SAMPLE))

    try:
        yield "create and write a file", create
        yield "flush a file to disk (fsync)", lambda: os.fsync(kept[0])
        yield "write a file beside", lambda: files.write_new(second, b"")
        yield "rename a file over another", lambda: os.replace(first, second)
        if appends:
            yield "write into a renamed file", overwrite
            yield "append to a file and cut it", append
        yield "read back what was written", lambda: _compare(second)
        yield "make a folder", inner.mkdir
        yield "rename a file into a folder", lambda: os.replace(second, inner / "a")
        yield "flush a folder to disk (fsync)", lambda: files.sync_directory(folder)
        yield "remove a file", (inner / "a").unlink
    finally:
        for descriptor in kept:
            os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    if os.write(descriptor, content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _compare(path: pathlib.Path) -> None:
    if path.read_bytes() != SAMPLE:
        raise OSError(errno.EOPNOTSUPP, "other bytes than were written")


def as_failure(what: str, error: OSError) -> errors.PeerLost | errors.TrainingFailed:
    """Creates the exception that ends work which has begun.

    It is PeerLost if a restart can succeed, otherwise TrainingFailed.
    """
    means = meaning(error)
    text = f"{what}: {reason(error)};\n{means.remedy}"
    return errors.PeerLost(text) if means.temporary else errors.TrainingFailed(text)


def as_refusal(
    what: str, error: OSError, *, restart: bool
) -> errors.PeerLost | errors.InvalidInput:
    """Creates the exception that ends work before anything is written.

    A `restart` may run unattended and has to be repeated if the condition is temporary:
    PeerLost. For new work the user can name another directory: InvalidInput.
    """
    means = meaning(error)
    text = f"{what}: {reason(error)};\n{means.remedy}"
    return (
        errors.PeerLost(text)
        if restart and means.temporary
        else errors.InvalidInput(text)
    )
