"""TensorFlow Lite Metadata, labels and provenance inside a `.tflite`.

https://ai.google.dev/edge/litert/models/metadata: a flatbuffer of metadata_schema.fbs
in a buffer of the model named TFLITE_METADATA, and associated files as a zip archive
after the model. No library that writes it works beside protobuf 7, so its few tables
are written here by field position. Labels can be read without any library:

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
from export.artifact.number_formats import Io, Scheme
from trainer.models.normalization import PIXEL_MEAN, PIXEL_STD

LABELS, PROVENANCE = "labels.txt", "provenance.json"
_ALIGNMENT = 16  # of a buffer's data, as the schema demands and Python's packer forgets
_MODEL_ID, _METADATA_ID = b"TFL3", b"M001"
_NAME = b"TFLITE_METADATA"
_PARSER = "1.0.0"  # the oldest that knows every field used here
_IMAGE, _RGB, _GRAYSCALE = 2, 1, 2  # ContentProperties, ColorSpaceType
_NORMALIZATION = 1  # ProcessUnitOptions
_AXIS_LABELS = 2  # AssociatedFileType


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """Contents of the standard metadata of a file.

    Attributes:
        text: one sentence about the model.
        image_shape: (H, W, C).
        mean, std: the input is (pixel - mean) / std, then quantised.
    """

    name: str
    text: str
    image_shape: tuple[int, int, int]
    mean: float
    std: float


def describe_model(
    name: str, text: str, image_shape: tuple[int, int, int], scheme: Scheme, io: Io
) -> ModelDescription:
    """Describes a file of `scheme` and `io`.

    Where uint8 goes through a CAST, normalisation is inside and the input is the pixel.
    """
    mean, std = float(PIXEL_MEAN), float(PIXEL_STD)
    if io is Io.UINT8 and scheme is not Scheme.INT8:
        mean, std = 0.0, 1.0
    return ModelDescription(name, text, image_shape, mean, std)


def add_metadata(
    content: bytes, description: ModelDescription, labels: Sequence[str]
) -> bytes:
    """Adds metadata inside the `.tflite` `content`, and labels.txt after it."""
    model = _read(content)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_pack_metadata(description), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    lines = (one_line(label) for label in labels)
    return _append_file(_pack(model), LABELS, "\n".join(lines) + "\n")


def align_buffers(content: bytes) -> bytes:
    """Packs the `.tflite` `content` again, with tensors aligned as its schema says."""
    return _pack(_read(content))


def _read(content: bytes) -> schema.ModelT:
    """Reads a model; tensors that lie behind its flatbuffer are moved into it.

    litert-quantizer writes large models so. The offsets count from the begin of the
    file, and would be wrong after anything is added in front of the tensors.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # 1 stands for a position that is not known yet
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def _pack(model: schema.ModelT) -> bytes:
    builder = _AligningBuilder(1024)
    builder.Finish(model.Pack(builder), _MODEL_ID)
    return bytes(builder.Output())


def append_provenance(content: bytes, facts: Mapping[str, Any]) -> bytes:
    """Appends `facts` as provenance.json; the model's bytes stay the same."""
    return _append_file(content, PROVENANCE, json.dumps(facts, indent=2) + "\n")


class _AligningBuilder(flatbuffers.Builder):
    """A builder that aligns every vector of bytes like a tensor's data."""

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802  flatbuffers' name
        self.StartVector(x.itemsize, x.size, max(_ALIGNMENT, x.itemsize))
        raw = x.tobytes(order="C")
        self.head = self.head - len(raw)
        self.Bytes[self.head : self.head + len(raw)] = raw
        self.vectorNumElems = x.size
        return self.EndVector()


def _append_file(content: bytes, name: str, text: str) -> bytes:
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        # A ZipInfo is dated 1980, so the bytes are repeatable.
        archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def _pack_metadata(description: ModelDescription) -> bytes:
    """ModelMetadata; a dictionary is a table by field position."""
    height, width, channels = description.image_shape
    mean, std = description.mean, description.std
    image = {
        0: "image",
        1: f"{height} x {width} x {channels} pixels as (pixel - {mean:g}) / {std:g}",
        3: {0: _IMAGE, 1: {0: _RGB if channels == 3 else _GRAYSCALE}},
        4: [{0: _NORMALIZATION, 1: {0: [mean], 1: [std]}}],
        5: {0: [(255 - mean) / std], 1: [(0 - mean) / std]},
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
    builder.Finish(_write_table(builder, root), _METADATA_ID)
    return bytes(builder.Output())


def _write_table(builder: flatbuffers.Builder, fields: Mapping[int, Any]) -> int:
    """Writes a table and returns its offset; an int is a byte-sized enum in it."""
    offsets = {
        slot: _write_value(builder, value)
        for slot, value in fields.items()
        if type(value) is not int
    }
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, value in fields.items():
        if slot in offsets:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
        else:
            builder.PrependUint8Slot(slot, value, 0)
    return builder.EndObject()


def _write_value(builder: flatbuffers.Builder, value: Any) -> int:  # noqa: ANN401
    """Writes a string, table or vector and returns its offset."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, Mapping):
        return _write_table(builder, value)
    if isinstance(value[0], float):
        return builder.CreateNumpyVector(np.array(value, np.float32))
    offsets = [_write_table(builder, item) for item in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
