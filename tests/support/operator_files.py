"""int8 `.tflite` files of one operator with random numbers, without a converter."""

import dataclasses
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

FLOAT32, INT8, UINT8, INT32 = (
    schema.TensorType.FLOAT32,
    schema.TensorType.INT8,
    schema.TensorType.UINT8,
    schema.TensorType.INT32,
)
_DTYPES = {INT8: np.int8, UINT8: np.uint8, INT32: np.int32}


@dataclasses.dataclass
class Value:
    """A tensor: shape, scales, zero point, and elements if it is a constant."""

    shape: tuple[int, ...]
    scales: Any = ()
    zero: int = 0
    data: np.ndarray | None = None
    kind: int = INT8
    axis: int = 0


def write_file(
    values: list[Value],
    operators: list[tuple[str, list[int], int, Any]],
    output: int,
) -> bytes:
    """Writes the file whose input is value 0.

    Args:
        operators: name, numbers of the inputs (-1: none) and of the output, options.
        output: number of the graph's output.
    """
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers = 3, [schema.BufferT()]
    graph.tensors = [_tensor(model, n, value) for n, value in enumerate(values)]
    graph.inputs, graph.outputs, graph.operators = [0], [output], []
    model.operatorCodes = []
    for name, inputs, made, options in operators:
        graph.operators.append(_operator(model, name, inputs, made, options))
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(model: Any, number: int, value: Value) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = f"t{number}", list(value.shape), value.kind
    if len(value.scales):
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array(value.scales, np.float32)
        zeros = np.full(len(value.scales), value.zero, np.int64)
        tensor.quantization.zeroPoint = zeros
        tensor.quantization.quantizedDimension = value.axis
    if value.data is not None:
        buffer = schema.BufferT()
        raw = np.ascontiguousarray(value.data, _DTYPES[value.kind]).tobytes()
        buffer.data = np.frombuffer(raw, np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    return tensor


def _operator(model: Any, name: str, inputs: list[int], made: int, options: Any) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = _VERSIONS.get(name, 2)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes)
    model.operatorCodes.append(code)
    operator.inputs, operator.outputs = inputs, [made]
    if options is not None:
        kind = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        operator.builtinOptions = options
    return operator


_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "RESHAPE": 1,
    "ABS": 1,
}


def options(kind: str, **fields: Any) -> Any:
    """Options of an operator by the names of the schema."""
    made = getattr(schema, f"{kind}OptionsT")()
    for name, value in fields.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made


def one(
    name: str,
    shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    own: Any,
    *others: Value,
    scales: tuple[float, float] = (0.02, 0.03),
    zeros: tuple[int, int] = (3, -7),
) -> bytes:
    """A file of one operator from the image to the answer.

    Args:
        own: its options.
        others: its further inputs.
        scales, zeros: of the image and of the answer.
    """
    values = [
        Value(shape, (scales[0],), zeros[0]),
        Value(out_shape, (scales[1],), zeros[1]),
        *others,
    ]
    inputs = [0, *range(2, len(values))]
    return write_file(values, [(name, inputs, 1, own)], 1)


def convolution(
    rng: np.random.Generator, kernel: tuple[int, ...], axis: int
) -> list[Value]:
    """Random weights with a scale for each channel, which is `axis`, and biases."""
    channels = kernel[axis]
    return weights(rng, kernel, rng.uniform(0.002, 0.02, channels), channels, axis)


def weights(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    scales: Any,
    channels: int,
    axis: int = 0,
) -> list[Value]:
    """Random weights and biases."""
    kernel = rng.integers(-127, 128, shape)
    bias = rng.integers(-3000, 3000, channels)
    bias_scales = 0.02 * np.asarray(scales)
    return [
        Value(shape, scales, 0, kernel, INT8, axis),
        Value((channels,), bias_scales, 0, bias, INT32),
    ]


def random_images(count: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Images of every brightness and contrast, the first two pixels 0 and 255."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape)) * rng.uniform(0, 1, (count, 1, 1, 1))
    images = images.astype(np.uint8)
    images.flat[:2] = (0, 255)
    return images


def reference_answers(content: bytes, images: np.ndarray) -> np.ndarray:
    """Bytes that LiteRT's reference kernels answer, uint8 [N, K]; int8 plus 128."""
    model = litert.Interpreter(
        model_content=content,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
    )
    model.allocate_tensors()
    source, sink = model.get_input_details()[0], model.get_output_details()[0]
    signed = source["dtype"] == np.int8
    rows = []
    for image in images:
        pixels = (image ^ 128).view(np.int8) if signed else image
        model.set_tensor(source["index"], pixels[None])
        model.invoke()
        rows.append(model.get_tensor(sink["index"]).reshape(-1).copy())
    answers = np.stack(rows)
    return answers.view(np.uint8) ^ 128 if answers.dtype == np.int8 else answers
