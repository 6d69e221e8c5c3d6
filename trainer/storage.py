"""Storage: what errors of a file system mean, and whether it can keep a run.

One table says of every error whether it passes by itself, so that a restart can mend
it, and what to do. What it does not list is permanent. ``commandline.lost`` and
``commandline.refused`` make exit codes of it, for every command.
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
    """Whether a condition passes without anybody changing the command, and what helps.

    Attributes:
        passing: a restart can mend it.
        remedy: an imperative, without its full stop.
    """

    passing: bool
    remedy: str


_ROOM = Meaning(True, "make room and restart")
_AWAY = Meaning(True, "restart when the storage is back")
_BUSY = Meaning(True, "restart when the machine has more of them to give")
_RIGHT = Meaning(False, "give this user the right to write there, or name another")
_OTHER = Meaning(False, "name another directory")
_LACKS = Meaning(
    False,
    "this file system lacks what is needed there (mounted buckets often do); name a "
    "directory on a disk or on NFS",
)
TABLE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _ROOM),
    **dict.fromkeys(
        (
            errno.ESTALE,
            errno.EIO,
            errno.ENOENT,  # what was there a moment ago: unmounted, or moved away
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
    """What the table says of `error`."""
    return TABLE.get(error.errno, _OTHER)


def reason(error: OSError) -> str:
    """What the system says, and of which file."""
    said = error.strerror or str(error) or type(error).__name__
    return f"{said}: {error.filename}" if error.filename else said


def told(message: str) -> OSError:
    """The error of the system that a library tells of in words, as TensorFlow does."""
    for number in TABLE:
        if os.strerror(number) in message:
            return OSError(number, message)
    return OSError(message)


def behind(error: BaseException | None) -> OSError | None:
    """The error of the system that `error`, which a library raised, came from."""
    found, seen = None, set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in TABLE:
            found = error
        error = error.__cause__ or error.__context__
    return found


def away(error: OSError) -> bool:
    """Whether what is there, or was, cannot be read now and can be read again."""
    return meaning(error).passing and error.errno != errno.ENOENT


def probe(
    directory: pathlib.Path, *, folders: bool = True, appends: bool = True
) -> None:
    """Does in `directory`, or above it if it is not there, what a run does.

    Nothing is left. Reports need neither renamed `folders` nor what `appends`.

    Raises:
        OSError: one of them fails; it says which.
    """
    above = directory
    while not os.path.lexists(above):
        above = above.parent
    folder = files.beside(above / "probe")
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
            raise OSError(errno.EIO, "it stays", str(folder))
    except OSError as error:
        said = f"cannot {doing} there ({error.strerror})"
        raise OSError(error.errno, said, str(above)) from error
    finally:
        files.delete(folder)


def _trials(
    folder: pathlib.Path, appends: bool
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each thing to try, in words and as a function, in an empty `folder`."""
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
    """What ends a work under way: 175 where a restart can mend it, else 1."""
    means = meaning(error)
    text = f"{what}: {reason(error)};\n{means.remedy}"
    return errors.PeerLost(text) if means.passing else errors.TrainingFailed(text)


def as_refusal(
    what: str, error: OSError, *, restart: bool
) -> errors.PeerLost | errors.InvalidInput:
    """What ends a work before its first byte is written.

    At a `restart`, which no person watches, what passes is 175. A new work has nothing
    to lose, and who gave the command can name another place: 2.
    """
    means = meaning(error)
    text = f"{what}: {reason(error)};\n{means.remedy}"
    return (
        errors.PeerLost(text)
        if restart and means.passing
        else errors.InvalidInput(text)
    )
