"""Metadata and labels are added without touching what the file computes."""

import io
import zipfile

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import interpreter
from ai_edge_litert import schema_py_generated as schema

from eval.formats import tflite_metadata
from eval.formats.embedded import one_line
from export.artifact.number_formats import IO_TYPES, Io, Scheme
from export.lite import converter, metadata_writer
from tests.support import export_runs

NAMES = ["cat", "été", 'a "b"']


@pytest.fixture(scope="module")
def raw() -> bytes:
    """A .tflite as the converter gives it."""
    network = export_runs.opened().network
    return converter.convert(network, Scheme.DYNAMIC, Io.FLOAT32, None)


def described(raw: bytes, scheme=Scheme.DYNAMIC, io=Io.FLOAT32) -> bytes:
    text = metadata_writer.describe_model("cnn", "a network", (32, 32, 3), scheme, io)
    return metadata_writer.add_metadata(raw, text, NAMES)


def answers(content: bytes) -> np.ndarray:
    own = interpreter.Interpreter(model_content=content)
    own.allocate_tensors()
    source = own.get_input_details()[0]
    own.set_tensor(source["index"], np.full(source["shape"], 0.5, np.float32))
    own.invoke()
    return own.get_tensor(own.get_output_details()[0]["index"])


def test_a_described_file_computes_the_same(raw):
    for content in (described(raw), metadata_writer.align_buffers(raw)):
        np.testing.assert_array_equal(answers(content), answers(raw))


def outside(raw: bytes) -> bytes:
    """The same file with its largest tensor behind the flatbuffer."""
    model = schema.ModelT.InitFromPackedBuf(raw, 0)
    sizes = [0 if each.data is None else len(each.data) for each in model.buffers]
    moved = model.buffers[int(np.argmax(sizes))]
    data, moved.data = bytes(moved.data), None
    moved.offset, moved.size = 1 << 20, len(data)  # behind the rest, and aligned
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()).ljust(moved.offset, b"\0") + data


def test_tensors_behind_the_flatbuffer_stay_with_it(raw):
    np.testing.assert_array_equal(answers(outside(raw)), answers(raw))
    assert metadata_writer.align_buffers(outside(raw)) == (
        metadata_writer.align_buffers(raw)
    )
    np.testing.assert_array_equal(answers(described(outside(raw))), answers(raw))


def test_labels_are_an_entry_of_a_zip_archive(raw):
    archive = zipfile.ZipFile(io.BytesIO(described(raw)))
    assert archive.read("labels.txt").decode().splitlines() == NAMES
    assert archive.getinfo("labels.txt").compress_type == zipfile.ZIP_STORED


def test_provenance_leaves_the_measured_bytes_as_they_are(raw):
    before = described(raw)
    after = metadata_writer.append_provenance(before, {"accuracy": 0.5})
    archive = zipfile.ZipFile(io.BytesIO(before))
    model_bytes = archive.getinfo("labels.txt").header_offset
    assert after[:model_bytes] == before[:model_bytes]
    kept = zipfile.ZipFile(io.BytesIO(after))
    assert kept.namelist() == ["labels.txt", "provenance.json"]
    assert kept.testzip() is None


def test_tensors_are_aligned_as_the_schema_says(raw):
    model = schema.Model.GetRootAs(metadata_writer.align_buffers(raw), 0)
    buffers = [model.Buffers(n) for n in range(model.BuffersLength())]
    vectors = [
        buffer._tab.Vector(buffer._tab.Offset(4))
        for buffer in buffers
        if buffer.DataLength()
    ]
    assert vectors and all(start % 16 == 0 for start in vectors)


@pytest.mark.parametrize(
    ("scheme", "io"), [(s, e) for s in Scheme for e in IO_TYPES[s]]
)
def test_a_reader_of_metadata_finds_the_normalisation(raw, scheme, io):
    found = tflite_metadata.parse_normalization(described(raw, scheme, io))
    raw_pixels = io is Io.UINT8 and scheme is not Scheme.INT8
    expected = ([0.0], [1.0]) if raw_pixels else ([128.0], [128.0])
    assert (found.mean, found.std) == expected


@pytest.mark.parametrize(
    "char",
    [chr(n) for n in range(0x3000) if len(f"a{chr(n)}b".splitlines()) > 1] + ["\0"],
)
def test_a_label_stays_one_line_whatever_is_in_it(char):
    line = one_line(f"a{char}b")
    assert line.splitlines() == [line] and "\0" not in line
    assert line.encode().decode("unicode_escape") == f"a{char}b"


def test_labels_without_such_characters_stay_as_they_are():
    for label in ("cat", "été", "a\\b", "日本"):
        assert one_line(label) == label
