"""Writes and reads TFRecords, the format of TensorBoard's event files.

A record is its length (8 bytes), the masked CRC-32C of the length, the content, and the
masked CRC-32C of the content. The CRC-32C of the tensorboard package takes 0.2 s per
megabyte; this one handles many records at once in NumPy and takes a tenth of that.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

HEADER, FOOTER = 12, 4
_LANE = 1024  # a long content is split into parts of this many bytes
_BATCH_RECORDS, _BATCH_BYTES = 4096, 1 << 22  # limits of records checked together
_FEW = 16  # up to this many contents NumPy is not faster
_SEARCHED = 1 << 20  # bytes searched at once for the next valid record


@dataclasses.dataclass(frozen=True)
class Span:
    """A range of bytes of an event file: a record, a damaged part or a torn end.

    Attributes:
        start, end: the range, `end` excluded.
        content: the content of the record; None if it is damaged or this is no record.
        torn: whether the file ends inside this record.
    """

    start: int
    end: int
    content: bytes | None
    torn: bool = False


def encode_record(content: bytes) -> bytes:
    """Encodes `content` as a record."""
    length = len(content).to_bytes(8, "little")
    sums = [n.to_bytes(4, "little") for n in checksums([length, content]).tolist()]
    return b"".join([length, sums[0], content, sums[1]])


def scan(path: pathlib.Path) -> Iterator[Span]:
    """Yields spans that cover the whole file, in order.

    After a damaged part, reading goes on at the next record whose two checksums are
    valid. It is searched within a damaged record too: where bytes are missing, a valid
    length leads past the beginning of later records. Memory holds at most a few
    megabytes or one record.
    """
    with open(path, "rb") as file:
        at, size = 0, path.stat().st_size
        while at < size:
            for span in _checked(_framed(file, at, size)) or [_rest(file, at, size)]:
                found = _until_next_record(file, span)
                yield found
                at = found.end
                if at < span.end:  # a wrong length led to the spans after it
                    break


def _framed(file: BinaryIO, at: int, size: int) -> list[Span]:
    """Reads records with valid lengths from `at` on, up to the limits of a batch.

    Their `content` ends with its checksum, not yet compared.
    """
    batch, first = [], at
    while len(batch) < _BATCH_RECORDS and at - first <= _BATCH_BYTES:
        length = _record_length(file, at)
        if length is None or at + length > size:
            break
        batch.append(Span(at, at + length, file.read(length - HEADER)))
        at += length
    return batch


def _checked(batch: list[Span]) -> list[Span]:
    """Compares the checksums of contents; a span whose checksum differs has none."""
    found = checksums([span.content[:-FOOTER] for span in batch]).tolist()
    return [
        dataclasses.replace(
            span,
            content=span.content[:-FOOTER] if _noted(span.content) == one else None,
        )
        for span, one in zip(batch, found, strict=True)
    ]


def _noted(content: bytes) -> int:
    """The checksum at the end of `content`."""
    return int.from_bytes(content[-FOOTER:], "little")


def _rest(file: BinaryIO, at: int, size: int) -> Span:
    """The rest of the file from `at` on, where no whole record begins."""
    torn = size - at < HEADER or _record_length(file, at) is not None
    return Span(at, size, None, torn)


def _record_length(file: BinaryIO, at: int) -> int | None:
    """Reads the length of the whole record at `at`; None if no valid one is there.

    The file is then at the content of the record.
    """
    file.seek(at)
    header = file.read(HEADER)
    if len(header) < HEADER or not _is_header(header):
        return None
    return HEADER + int.from_bytes(header[:8], "little") + FOOTER


def _until_next_record(file: BinaryIO, span: Span) -> Span:
    """Cuts a damaged span where a valid record begins within it."""
    if span.content is not None:
        return span
    cut = _next_record(file, span.start + 1, span.end)
    return span if cut is None else Span(span.start, cut, None)


@functools.lru_cache(maxsize=4096)  # records of one kind have few lengths
def _is_header(header: bytes) -> bool:
    return checksums([header[:8]])[0] == int.from_bytes(header[8:], "little")


def _next_record(file: BinaryIO, at: int, end: int) -> int | None:
    """Finds the first valid record that begins in [at, end); None if none does."""
    while at < end:
        file.seek(at)
        count = min(_SEARCHED, end - at)
        piece = np.frombuffer(file.read(count + HEADER - 1), np.uint8)
        if len(piece) < HEADER:
            break
        windows = sliding_window_view(piece, HEADER)
        noted = np.ascontiguousarray(windows[:, 8:]).view("<u4")[:, 0]
        turned = windows[:, :8] ^ np.uint8([255] * 4 + [0] * 4)
        sums = _masked(_register(turned) ^ np.uint32(0xFFFFFFFF))
        for place in np.flatnonzero(sums == noted).tolist():
            if _is_record(file, at + place):
                return at + place
        at += count
    return None


def _is_record(file: BinaryIO, at: int) -> bool:
    """Checks the content of the record at `at`, whose length is valid."""
    size = file.seek(0, os.SEEK_END)
    length = _record_length(file, at)
    if length is None or at + length > size:
        return False
    content = file.read(length - HEADER)
    return checksums([content[:-FOOTER]])[0] == _noted(content)


def checksums(contents: Sequence[bytes]) -> np.ndarray:
    """Computes the masked CRC-32C of each of `contents`: uint32 [N]."""
    found = np.zeros(len(contents), np.uint32)
    sizes = [len(content) for content in contents]
    many = [n for n, size in enumerate(sizes) if 4 <= size <= _LANE]
    if len(many) > _FEW:
        found[many] = _masked(_of_rows([contents[n] for n in many]))
    else:
        found[many] = [pywrap_tensorflow.masked_crc32c(contents[n]) for n in many]
    for n, size in enumerate(sizes):
        if size > _LANE:
            found[n] = _masked(np.uint32(_of_long(contents[n])))
        elif size < 4:
            found[n] = pywrap_tensorflow.masked_crc32c(contents[n])
    return found


def _masked(sums: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return (sums >> 15 | sums << 17) + np.uint32(0xA282EAD8)


def _of_rows(contents: Sequence[bytes]) -> np.ndarray:
    """Computes the CRC-32C of each of `contents`, each of at least 4 bytes: uint32 [N].

    Zeros before a message change nothing while the register is 0. To start with a
    register of ones is the same as to invert the first four bytes.
    """
    width = max(map(len, contents))
    width += width % 2
    packed = bytearray().join([content.rjust(width, b"\0") for content in contents])
    rows = np.frombuffer(packed, np.uint8).reshape(-1, width)
    first = width - np.array([len(content) for content in contents])
    for n in range(4):
        rows[np.arange(len(rows)), first + n] ^= 0xFF
    return _register(rows) ^ np.uint32(0xFFFFFFFF)


def _of_long(content: bytes) -> int:
    """Computes the CRC-32C of one content from those of its parts of _LANE bytes."""
    lanes = -(-len(content) // _LANE)
    padded = bytearray(content.rjust(lanes * _LANE, b"\0"))
    for n in range(len(padded) - len(content), len(padded) - len(content) + 4):
        padded[n] ^= 0xFF
    parts = _register(np.frombuffer(padded, np.uint8).reshape(lanes, _LANE)).tolist()
    one, two, three, four = _shift()
    total = 0
    for part in parts:
        total = (
            one[total & 255]
            ^ two[total >> 8 & 255]
            ^ three[total >> 16 & 255]
            ^ four[total >> 24]
            ^ part
        )
    return total ^ 0xFFFFFFFF


def _register(rows: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Computes the CRC register after each row of uint8 [N, even]: uint32 [N]."""
    table = _table()
    register = np.zeros(len(rows), np.uint32) if start is None else start
    for column in np.ascontiguousarray(rows.view("<u2").T):
        register = table[(register ^ column) & 0xFFFF] ^ (register >> 16)
    return register


@functools.cache
def _table() -> np.ndarray:
    """Lookup table of the CRC register, by the next two bytes: uint32 [65536]."""
    table = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(16):
        table = (table >> 1) ^ (table & 1) * np.uint32(0x82F63B78)
    return table


@functools.cache
def _shift() -> list[list[int]]:
    """Lookup table that advances a CRC register by _LANE zeros, by byte.

    The register after the zeros is the XOR of the four entries: [4][256].
    """
    values = np.arange(256, dtype=np.uint32)
    start = np.concatenate([values << np.uint32(8 * n) for n in range(4)])
    zeros = np.zeros((len(start), _LANE), np.uint8)
    return _register(zeros, start).reshape(4, 256).tolist()
