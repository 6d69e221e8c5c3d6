"""A session of ONNX Runtime, which is optional, and the input of its file."""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from trainer.errors import InvalidInput, first_line

PACKAGE = "onnxruntime"
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
}
_ERRORS_ONLY = 3  # log level


@dataclasses.dataclass(frozen=True)
class OnnxTensor:
    """An input or output of a file.

    Attributes:
        shape: None for a side that is not fixed.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype


def open_session(path: pathlib.Path, threads: int) -> Any:
    """Opens `path` in ONNX Runtime, on the CPU.

    ONNX Runtime 1.32 sends Microsoft what it runs, from its import on, and keeps a
    number of this user's device on disk; not here, unless ORT_DISABLE_TELEMETRY is 0
    (onnxruntime/Privacy.md).

    Raises:
        InvalidInput: the package is not installed, or the file is damaged.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise InvalidInput(
            f"{path} needs {PACKAGE}, which is not installed;\npip install {PACKAGE}"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # a damaged or foreign file may raise anything
        raise InvalidInput(
            f"{path} is damaged or no ONNX model that ONNX Runtime can run:"
            f" {first_line(error)}"
        ) from error


def describe_input(session: Any, path: pathlib.Path) -> OnnxTensor:
    """Describes the only input of an open file.

    Raises:
        InvalidInput: it has several, or one that is no image.
    """
    return _describe_only(session.get_inputs(), path, "input")


def describe_output(session: Any, path: pathlib.Path) -> OnnxTensor:
    """Describes the only output of an open file.

    Raises:
        InvalidInput: it has several, or one that is not of numbers.
    """
    return _describe_only(session.get_outputs(), path, "output")


def _describe_only(found: list[Any], path: pathlib.Path, what: str) -> OnnxTensor:
    if len(found) != 1:
        raise InvalidInput(f"{path} has {len(found)} {what}s; a classifier has 1")
    (one,) = found
    if one.type not in _TYPES:
        raise InvalidInput(
            f"{path} has an {what} of {one.type}; a classifier's are floats or bytes"
        )
    sides = (side if isinstance(side, int) and side > 0 else None for side in one.shape)
    return OnnxTensor(one.name, tuple(sides), np.dtype(_TYPES[one.type]))
