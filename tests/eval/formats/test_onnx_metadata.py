"""The metadata of an ONNX file is read without a library, and damage is no error."""

import pytest

from eval.formats import embedded, onnx_metadata


def field(number: int, content: bytes) -> bytes:
    size = len(content)
    varint = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + varint + content


def pair(key: str, value: str) -> bytes:
    return field(14, field(1, key.encode()) + field(2, value.encode()))


# ir_version 9, a graph of some bytes, two pairs, a fixed number of each size.
MODEL = (
    b"\x08\x09"
    + field(7, b"\x00" * 300)
    + pair("labels.txt", "cat\ndög\n")
    + b"\x79" + b"\x00" * 8  # field 15
    + b"\x7d" + b"\x00" * 4
    + pair("temperature", "1.25")
)  # fmt: skip


def test_pairs_are_found(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    found = onnx_metadata.load_metadata(path)
    assert found == {"labels.txt": "cat\ndög\n", "temperature": "1.25"}
    assert embedded.load_description(path, {}) == {"labels": ["cat", "dög"]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"\xff" * 40,
        MODEL[:-3],
        MODEL[:200],
        field(14, field(1, b"\xff\xfe")),
        b"\x77" * 20,
        b"PK\x03\x04" + bytes(300),
    ],
)
def test_damage_is_no_error(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert onnx_metadata.load_metadata(path) == {}
    assert onnx_metadata.load_metadata(tmp_path / "none.onnx") == {}
