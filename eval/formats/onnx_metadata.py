"""Reads the metadata of an ONNX file, without the package onnx.

An ONNX file is a protobuf message ModelProto (onnx.proto3): field 14 is repeated and
holds pairs of strings, key and value. All other fields are skipped by their length.
"""

import mmap
import pathlib
from collections.abc import Iterator

TEMPERATURE = "temperature"  # the divisor of the logits, which is in the graph
_METADATA_PROPS = 14
_KEY, _VALUE = 1, 2
_LONGEST = 10  # bytes of a varint


def load_metadata(path: pathlib.Path) -> dict[str, str]:
    """Loads the pairs of `metadata_props`; {} if the file is no such message."""
    try:
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return dict(_parse_pairs(content))
    except (OSError, ValueError, IndexError):
        return {}


def _parse_pairs(content: mmap.mmap) -> Iterator[tuple[str, str]]:
    for field, start, end in _parse_fields(content, 0, len(content)):
        if field == _METADATA_PROPS and end > start:
            pair = content[start:end]
            parts = {
                number: pair[first:last]
                for number, first, last in _parse_fields(pair, 0, len(pair))
            }
            yield parts.get(_KEY, b"").decode(), parts.get(_VALUE, b"").decode()


def _parse_fields(
    content: mmap.mmap | bytes, place: int, end: int
) -> Iterator[tuple[int, int, int]]:
    """Yields number, start and end of each field; start and end are 0 for a number.

    Raises:
        ValueError: it is no message.
        IndexError: it ends early.
    """
    while place < end:
        tag, place = _parse_varint(content, place)
        start = stop = 0
        match tag & 7:
            case 0:
                _, place = _parse_varint(content, place)
            case 1:
                place += 8
            case 2:
                size, start = _parse_varint(content, place)
                place = stop = start + size
            case 5:
                place += 4
            case kind:
                raise ValueError(f"no wire type {kind}")
        if place > end:
            raise ValueError("a field is longer than the message")
        yield tag >> 3, start, stop


def _parse_varint(content: mmap.mmap | bytes, place: int) -> tuple[int, int]:
    """Parses a number of 7 bits a byte; returns the place behind it, too."""
    value = 0
    for count in range(_LONGEST):
        byte = content[place + count]
        value |= (byte & 127) << (7 * count)
        if byte < 128:
            return value, place + count + 1
    raise ValueError("a number is too long")
