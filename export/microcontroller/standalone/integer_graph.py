"""Reads operators and tensors of an int8 `.tflite` whose ends are 8-bit integers."""

import dataclasses
import struct
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from trainer.errors import InvalidInput

_TYPES = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.INT8: np.dtype(np.int8),
    schema.TensorType.UINT8: np.dtype(np.uint8),
    schema.TensorType.INT16: np.dtype(np.int16),
    schema.TensorType.INT32: np.dtype(np.int32),
    schema.TensorType.INT64: np.dtype(np.int64),
}
_OPERATORS = {
    number: name
    for name, number in vars(schema.BuiltinOperator).items()
    if not name.startswith("_")
}


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph.

    Attributes:
        index: its number in the file.
        shape: sides, batch of 1 included.
        dtype: of the elements; None if it is none that is known here.
        scales: float32, one, or one for each channel; empty if not quantised.
        zero_point: of all channels.
        data: elements of a constant; None: it is computed.
    """

    index: int
    shape: tuple[int, ...]
    dtype: np.dtype | None
    scales: np.ndarray
    zero_point: int
    data: np.ndarray | None

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))

    @property
    def scale(self) -> np.float32:
        """The scale of a tensor that has one."""
        return np.float32(self.scales[0])


@dataclasses.dataclass(frozen=True, eq=False)
class GraphOperator:
    """An operator: TFLite's name, tensors, and options by TFLite's names."""

    name: str
    inputs: tuple[Tensor | None, ...]
    output: Tensor
    options: Any


@dataclasses.dataclass(frozen=True)
class IntegerGraph:
    """The graph of a classifier: operators in order, input and output."""

    operators: tuple[GraphOperator, ...]
    input: Tensor
    output: Tensor


def parse_graph(content: bytes, name: str) -> IntegerGraph:
    """Parses the `.tflite` in `content`, called `name` in messages.

    Raises:
        InvalidInput: it is damaged, not of 8-bit integers, or no image classifier.
    """
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        graph = _parse(model, name)
    except (
        IndexError,
        ValueError,
        TypeError,
        struct.error,
        AttributeError,
        RuntimeError,
    ) as error:
        raise InvalidInput(f"{name} is damaged or no .tflite model") from error
    _check_ends(graph, name)
    return graph


def _parse(model: Any, name: str) -> IntegerGraph:
    if len(model.subgraphs) != 1:
        raise InvalidInput(f"{name} has {len(model.subgraphs)} subgraphs, not one")
    graph = model.subgraphs[0]
    tensors = [
        _tensor(index, found, model.buffers)
        for index, found in enumerate(graph.tensors)
    ]
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise InvalidInput(f"{name} does not have one input and one output")
    operators = [
        GraphOperator(
            name=_operator_name(model.operatorCodes[found.opcodeIndex]),
            inputs=tuple(None if i < 0 else tensors[i] for i in found.inputs),
            output=tensors[found.outputs[0]],
            options=found.builtinOptions,
        )
        for found in graph.operators
    ]
    return IntegerGraph(
        tuple(operators), tensors[graph.inputs[0]], tensors[graph.outputs[0]]
    )


def _operator_name(code: Any) -> str:
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return _OPERATORS.get(number, str(number))


def _tensor(index: int, found: Any, buffers: Any) -> Tensor:
    shape = () if found.shape is None else tuple(int(side) for side in found.shape)
    quantization = found.quantization
    scales = getattr(quantization, "scale", None)
    zeros = getattr(quantization, "zeroPoint", None)
    dtype = _TYPES.get(found.type)
    return Tensor(
        index=index,
        shape=shape,
        dtype=dtype,
        scales=np.array([] if scales is None else scales, np.float32),
        zero_point=0 if zeros is None or not len(zeros) else int(zeros[0]),
        data=_constant(buffers[found.buffer].data, dtype, shape),
    )


def _constant(
    data: np.ndarray | None, dtype: np.dtype | None, shape: tuple[int, ...]
) -> np.ndarray | None:
    if data is None or not len(data) or dtype is None:
        return None
    return np.frombuffer(np.array(data, np.uint8).tobytes(), dtype).reshape(shape)


def _check_ends(graph: IntegerGraph, name: str) -> None:
    for end, word in ((graph.input, "input"), (graph.output, "output")):
        if end.dtype not in (np.int8, np.uint8):
            raise InvalidInput(
                f"{name} has an {word} of {end.dtype}; C without a library needs an"
                " int8 file whose pixels and probabilities are uint8 or int8;\n"
                "export.tflite makes one with scheme=int8"
            )
    shape = graph.input.shape
    if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
        raise InvalidInput(
            f"{name} takes {list(shape)}; C without a library needs one image,"
            " [1, H, W, C]"
        )
