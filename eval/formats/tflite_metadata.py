"""Reads input normalisation and labels from TensorFlow Lite Metadata.

https://ai.google.dev/edge/litert/models/metadata: a flatbuffer in a buffer of the model
named TFLITE_METADATA. Only the fields on the way to the NormalizationOptions of the
input are read here; the numbers are field positions in metadata_schema.fbs.
"""

import struct

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.number_types import Float32Flags, UOffsetTFlags
from flatbuffers.table import Table

from eval.formats.input_normalization import InputNormalization

_NAME = b"TFLITE_METADATA"
_DAMAGE = (
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
)
_SUBGRAPHS, _INPUTS, _PROCESS_UNITS = 3, 2, 4  # ModelMetadata, SubGraph-, Tensor-
_UNIT_TYPE, _UNIT, _NORMALIZATION = 0, 1, 1  # ProcessUnit's union and its first member
_MEAN, _STD = 0, 1
_OUTPUTS, _FILES = 3, 6  # SubGraph-, TensorMetadata
_FILE_TYPE, _AXIS_LABELS = 2, 2  # AssociatedFile's type, and the one of labels


def parse_normalization(content: bytes) -> InputNormalization | None:
    """Parses the input normalisation in the metadata of a `.tflite`; None if absent."""
    try:
        table = _metadata(content)
        for position in (_SUBGRAPHS, _INPUTS, _PROCESS_UNITS):
            table = table and _child(table, position)
        if not table or _byte(table, _UNIT_TYPE) != _NORMALIZATION:
            return None
        options = Table(table.Bytes, 0)
        table.Union(options, table.Offset(4 + 2 * _UNIT))
        mean, std = _floats(options, _MEAN), _floats(options, _STD)
        return InputNormalization(mean=mean, std=std) if mean and std else None
    except _DAMAGE:
        return None  # a file with damaged metadata still runs


def find_labels_file(content: bytes) -> str | None:
    """Finds the name of the file inside a `.tflite` that holds the class names."""
    try:
        table = _metadata(content)
        for position in (_SUBGRAPHS, _OUTPUTS):
            table = table and _child(table, position)
        offset = table and table.Offset(4 + 2 * _FILES)
        for place in range(table.VectorLen(offset) if offset else 0):
            start = table.Vector(offset) + 4 * place
            file = Table(table.Bytes, table.Indirect(start))
            name = file.Offset(4)
            if name and _byte(file, _FILE_TYPE) == _AXIS_LABELS:
                return file.String(file.Pos + name).decode()
    except _DAMAGE:
        pass  # as above
    return None


def _metadata(content: bytes) -> Table | None:
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == _NAME:
            buffer = model.Buffers(entry.Buffer()).DataAsNumpy()
            if isinstance(buffer, np.ndarray):
                data = bytearray(buffer.tobytes())
                start = flatbuffers.encode.Get(UOffsetTFlags.packer_type, data, 0)
                return Table(data, start)
    return None


def _child(table: Table, position: int) -> Table | None:
    """The first table of a vector of tables."""
    offset = table.Offset(4 + 2 * position)
    if not offset or not table.VectorLen(offset):
        return None
    return Table(table.Bytes, table.Indirect(table.Vector(offset)))


def _byte(table: Table, position: int) -> int:
    offset = table.Offset(4 + 2 * position)
    return table.Bytes[table.Pos + offset] if offset else 0


def _floats(table: Table, position: int) -> list[float]:
    offset = table.Offset(4 + 2 * position)
    if not offset:
        return []
    values = table.GetVectorAsNumpy(Float32Flags, offset)
    return values.astype(float).tolist()
