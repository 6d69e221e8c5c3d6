"""Atomic writes, and safe reads of files that cannot be trusted.

Other users may write into a run directory or a data folder: files are not opened for
writing through links, and files that are too large are not read. Temporary files of
killed processes are removed.
"""

import contextlib
import errno
import fcntl
import functools
import glob
import hashlib
import json
import math
import os
import pathlib
import re
import shutil
import stat
import threading
import time
from collections.abc import Container, Iterator, Sequence
from typing import IO, Any

from trainer import system

# Errors of fsync of a folder and of flock if the file system does not support them:
# CIFS returns EINVAL for the former, Lustre without -o flock returns ENOSYS for the
# latter.
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF}
_PIECE = 1 << 20  # bytes copied at once
JSON_BYTES = (
    16 << 20
)  # 22,000 classes need 1 MB; 16 MiB take less than 1 GB when parsed
OLD_SECS = 24 * 3600.0  # age at which temporary files of other machines are removed
_BESIDE = re.compile(r"\.(.+)\.tmp-([0-9a-f]{8})-(\d+)-(\d+)-\d+")
_FORMER = re.compile(r"\.(.+)\.\d+(?:-\d+)?")  # names of earlier versions


def temporary_path(path: pathlib.Path) -> pathlib.Path:
    """Names the hidden file that this thread writes before it is renamed to `path`."""
    pid = os.getpid()
    start = system.process_start(pid) or 0
    mark = f"{_machine()}-{pid}-{start}-{threading.get_native_id()}"
    return path.with_name(f".{path.name}.tmp-{mark}")


@functools.cache
def _machine() -> str:
    """Hash of the machine and container in which process ids are valid."""
    text = f"{system.boot_id()} {system.pid_namespace()}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def remove_leftovers(folder: pathlib.Path, mine: Container[str] | None = ()) -> None:
    """Removes temporary files in `folder` whose process has ended.

    Args:
        folder: the folder; it may be missing.
        mine: names that only this process may write now, None for all names: their
            temporary files are removed even if their process is running.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        began, former = _BESIDE.fullmatch(name), _FORMER.fullmatch(name)
        found = began or former
        if found is None or (began and int(began[3]) == os.getpid()):
            continue
        own = mine is None or found[1] in mine
        if own or (began and _dead(folder / name, began)):
            delete(folder / name)


def _dead(path: pathlib.Path, began: re.Match) -> bool:
    if system.boot_id() and began[2] == _machine():
        return system.process_start(int(began[3])) != int(began[4])
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime > OLD_SECS
    return False


def delete(path: pathlib.Path) -> None:
    """Deletes a file, a link or a whole folder; errors are ignored."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file atomically: under another name, flushed to disk, then renamed."""
    made = temporary_path(path)
    try:
        write_new(made, content, durable=True)
        os.replace(made, path)
    finally:
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_new(path: pathlib.Path, content: bytes, *, durable: bool = False) -> None:
    """Writes a new file at `path`; an existing file or link is removed first."""
    path.unlink(missing_ok=True)
    descriptor = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def open_regular(path: pathlib.Path, flags: int) -> int:
    """Opens the regular file at `path` with `flags`; returns its descriptor.

    Raises:
        OSError: also if it is a link, a pipe or a device.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its reader.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _odd(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _odd(path)
    return descriptor


def open_for_update(path: pathlib.Path, *, create: bool = False) -> IO[bytes]:
    """Opens the regular file at `path` to read and write; nothing is cut off.

    Raises:
        OSError: as `open_regular` does.
    """
    flags = os.O_RDWR | (os.O_CREAT if create else 0)
    return os.fdopen(open_regular(path, flags), "r+b")


def _odd(path: pathlib.Path) -> OSError:
    text = "it is a link or not a regular file; move it away"
    return OSError(errno.ELOOP, text, str(path))


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """Reads a regular file of at most `limit` bytes; links are followed.

    Raises:
        OSError: also if it is larger, or not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if found.st_size > limit:
            text = f"it has {found.st_size:,} bytes, more than the limit of {limit:,}"
            raise OSError(errno.EFBIG, text, str(path))
        return file.read(found.st_size)


def read_json(path: pathlib.Path) -> Any:
    """Reads the JSON file at `path`.

    Raises:
        OSError: it does not exist, or is larger than JSON_BYTES.
        ValueError: it is not JSON.
    """
    return parse_json(read_bytes(path, JSON_BYTES))


def parse_json(content: bytes) -> Any:
    """Parses JSON.

    Raises:
        ValueError: it is not JSON, or contains NaN, infinity or a lone surrogate.
    """
    try:
        found = json.loads(content, parse_constant=_finite, parse_float=_finite)
        if b"\\ud" in content.lower():  # a lone surrogate cannot be encoded
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return found


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text:.99} is not a number of JSON")
    return value


def keep_ranges(path: pathlib.Path, ranges: Sequence[tuple[int, int]]) -> None:
    """Removes all bytes of a file outside `ranges` (start, end), in ascending order.

    The change is flushed to the disk. The file is truncated if the only range is its
    beginning, and not touched if the only range is all of it.
    """
    own = not path.is_symlink()
    if own and list(ranges) == [(0, path.stat().st_size)]:
        return
    if own and len(ranges) == 1 and ranges[0][0] == 0:
        with open(open_regular(path, os.O_RDWR), "r+b") as file:
            file.truncate(ranges[0][1])
            os.fsync(file.fileno())
        return
    made = temporary_path(path)
    made.unlink(missing_ok=True)
    descriptor = open_regular(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with open(path, "rb") as source, open(descriptor, "wb") as file:
            for start, end in ranges:
                source.seek(start)
                while start < end and (piece := source.read(min(_PIECE, end - start))):
                    start += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
    finally:
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)
    sync_directory(path.parent)


@contextlib.contextmanager
def literal_path(folder: pathlib.Path) -> Iterator[str]:
    """Yields a path to `folder` without characters of patterns, such as "[1]".

    Some libraries take names of files as patterns. The path is valid within the
    context, in this process. A folder without such characters keeps its path.
    """
    if glob.escape(str(folder)) == str(folder):
        yield str(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` atomically as indented JSON with a final newline."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Encodes `value` as indented JSON; raises ValueError for NaN and infinities."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def sync_directory(path: pathlib.Path) -> None:
    """Flushes the entries of a directory to the disk, if that is supported."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def lock(file: int | IO, *, wait: bool) -> bool:
    """Locks an open file; returns False if its file system does not support locks.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is False.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in UNSUPPORTED | {errno.ENOLCK}:
            raise
        return False
    return True
