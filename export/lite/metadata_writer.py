"""Writes TensorFlow Lite Metadata, labels and provenance into a .tflite.

https://ai.google.dev/edge/litert/models/metadata: a flatbuffer of metadata_schema.fbs
in a buffer of the model named TFLITE_METADATA, and associated files as a zip archive
after the model. No library that writes it works beside protobuf 7, so its few tables
are written here by field position. Labels need no library to be read:

    zipfile.ZipFile("model_int8.tflite").read("labels.txt").decode().splitlines()
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from eval.formats.embedded import one_line
from export.formats import Io, Scheme

LABELS, PROVENANCE = "labels.txt", "provenance.json"
_ALIGNMENT = 16  # of a buffer's data, as the schema demands and Python's packer forgets
_MODEL_ID, _METADATA_ID = b"TFL3", b"M001"
_NAME = b"TFLITE_METADATA"
_PARSER = "1.0.0"  # the oldest that knows every field used here
_IMAGE, _RGB, _GRAYSCALE = 2, 1, 2  # ContentProperties, ColorSpaceType
_NORMALIZATION = 1  # ProcessUnitOptions
_AXIS_LABELS = 2  # AssociatedFileType


@dataclasses.dataclass(frozen=True)
class Description:
    """What a file says of itself to clients that read standard metadata.

    Attributes:
        mean, std: the input is (pixel - mean) / std, then quantised.
    """

    name: str
    text: str
    image_shape: tuple[int, int, int]
    mean: float
    std: float


def describe(
    name: str, text: str, image_shape: tuple[int, int, int], scheme: Scheme, io: Io
) -> Description:
    """The Description of a file of `scheme` and `io`.

    Where uint8 goes through a CAST, normalisation is inside and the input is the pixel.
    """
    inside = io is Io.UINT8 and scheme is not Scheme.INT8
    mean, std = (0.0, 1.0) if inside else (128.0, 128.0)
    return Description(name, text, image_shape, mean, std)


def write(content: bytes, description: Description, labels: Sequence[str]) -> bytes:
    """`content`, a .tflite, with metadata inside and labels.txt after it."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_metadata(description), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    lines = (one_line(label) for label in labels)
    return _with_file(_packed(model), LABELS, "\n".join(lines) + "\n")


def aligned(content: bytes) -> bytes:
    """`content`, a .tflite, with the data of its tensors aligned as its schema says."""
    return _packed(schema.ModelT.InitFromPackedBuf(content, 0))


def _packed(model: schema.ModelT) -> bytes:
    builder = _Aligned(1024)
    builder.Finish(model.Pack(builder), _MODEL_ID)
    return bytes(builder.Output())


def with_provenance(content: bytes, facts: Mapping[str, Any]) -> bytes:
    """`content` with `facts` as provenance.json after it; the model's bytes stay."""
    return _with_file(content, PROVENANCE, json.dumps(facts, indent=2) + "\n")


class _Aligned(flatbuffers.Builder):
    """Packs every vector of bytes at the alignment of a tensor's data."""

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802  flatbuffers' name
        self.StartVector(x.itemsize, x.size, max(_ALIGNMENT, x.itemsize))
        raw = x.tobytes(order="C")
        self.head = self.head - len(raw)
        self.Bytes[self.head : self.head + len(raw)] = raw
        self.vectorNumElems = x.size
        return self.EndVector()


def _with_file(content: bytes, name: str, text: str) -> bytes:
    whole = io.BytesIO(content)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(
            zipfile.ZipInfo(name), text
        )  # dated 1980: bytes are repeatable
    return whole.getvalue()


def _metadata(description: Description) -> bytes:
    """ModelMetadata; a dictionary is a table by field position."""
    height, width, channels = description.image_shape
    mean, std = description.mean, description.std
    image = {
        0: "image",
        1: f"{height} x {width} x {channels} pixels as (pixel - {mean:g}) / {std:g}",
        3: {0: _IMAGE, 1: {0: _RGB if channels == 3 else _GRAYSCALE}},
        4: [{0: _NORMALIZATION, 1: {0: [mean], 1: [std]}}],
        5: {
            0: [(255 - mean) / std],
            1: [(0 - mean) / std],
        },
    }
    labels = {0: LABELS, 1: "Names of the classes in order.", 2: _AXIS_LABELS}
    probabilities = {
        0: "probability",
        1: "Probability of each class.",
        3: {0: 1, 1: {}},
        5: {0: [1.0], 1: [0.0]},
        6: [labels],
    }
    subgraph = {2: [image], 3: [probabilities]}
    root = {0: description.name, 1: description.text, 3: [subgraph], 7: _PARSER}
    builder = flatbuffers.Builder(1024)
    builder.Finish(_table(builder, root), _METADATA_ID)
    return bytes(builder.Output())


def _table(builder: flatbuffers.Builder, fields: Mapping[int, Any]) -> int:
    """Offset of a table; an int is a byte-sized enum, all else lies elsewhere."""
    offsets = {
        k: _elsewhere(builder, v) for k, v in fields.items() if type(v) is not int
    }
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, value in fields.items():
        if slot in offsets:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
        else:
            builder.PrependUint8Slot(slot, value, 0)
    return builder.EndObject()


def _elsewhere(builder: flatbuffers.Builder, value: Any) -> int:
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, Mapping):
        return _table(builder, value)
    if isinstance(value[0], float):
        return builder.CreateNumpyVector(np.array(value, np.float32))
    offsets = [_table(builder, item) for item in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
