"""Files that appear whole or not at all, and files whose content is not ours.

A run directory or a data folder may be a place where others write: nothing is opened
for writing through a link that somebody left there, and nothing is read that is larger
than what we would have written.
"""

import errno
import json
import math
import os
import pathlib
import stat
from collections.abc import Sequence
from typing import Any

_PIECE = 1 << 20  # bytes copied at once
JSON_BYTES = 16 << 20  # 22,000 classes have 1 MB; parsed, 16 MiB are below 1 GB


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes beside `path`, flushes to disk and renames."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_new(beside, content, durable=True)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_new(path: pathlib.Path, content: bytes, *, durable: bool = False) -> None:
    """Writes a file of its own at `path`, whatever had that name; a link is removed."""
    path.unlink(missing_ok=True)
    descriptor = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def open_regular(path: pathlib.Path, flags: int) -> int:
    """The open file at `path`, made if `flags` say so; the caller truncates.

    Raises:
        OSError: also if a link, a pipe or a device is there.
    """
    try:
        # Not blocking: a pipe would wait for whoever reads it.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _odd(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _odd(path)
    return descriptor


def _odd(path: pathlib.Path) -> OSError:
    text = "a link or no regular file; remove it"
    return OSError(errno.EINVAL, text, str(path))


def read_bytes(path: pathlib.Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; links are followed.

    Raises:
        OSError: also if it is larger, or no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if found.st_size > limit:
            text = f"it has {found.st_size:,} bytes, more than the {limit:,} it may"
            raise OSError(errno.EFBIG, text, str(path))
        return file.read(found.st_size)


def read_json(path: pathlib.Path) -> Any:
    """What the JSON file at `path` holds.

    Raises:
        OSError: it is not there, or larger than JSON_BYTES.
        ValueError: it is no JSON.
    """
    content = read_bytes(path, JSON_BYTES)
    try:
        found = json.loads(content, parse_constant=_finite, parse_float=_finite)
        if b"\\ud" in content.lower():  # half a character cannot be written again
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return found


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text:.99} is no number of JSON")
    return value


def keep(path: pathlib.Path, ranges: Sequence[tuple[int, int]]) -> None:
    """Leaves of the file the bytes of `ranges` (start, end), ascending; durably.

    It is only cut where they are its beginning, not touched where they are all of it.
    """
    own = not path.is_symlink()
    if own and list(ranges) == [(0, path.stat().st_size)]:
        return
    if own and len(ranges) == 1 and ranges[0][0] == 0:
        with open(open_regular(path, os.O_RDWR), "r+b") as file:
            file.truncate(ranges[0][1])
            os.fsync(file.fileno())
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    made = open_regular(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with open(path, "rb") as source, open(made, "wb") as file:
            for start, end in ranges:
                source.seek(start)
                while start < end and (piece := source.read(min(_PIECE, end - start))):
                    start += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_json(path: pathlib.Path, value: Any) -> None:
    """`value` as indented JSON with a final newline."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Indented JSON; NaN and infinities are refused, they are not JSON."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def sync_directory(path: pathlib.Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
