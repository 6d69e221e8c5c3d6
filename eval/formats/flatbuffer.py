"""Reads operators, quantisation and cost of a `.tflite` from its flatbuffer.

https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_NAMES = {
    number: name
    for name, number in vars(schema.BuiltinOperator).items()
    if not name.startswith("_")
}


# Operators that change only the type or shape of a tensor.
_CARRIERS = ("DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "CAST", "EXPAND_DIMS")
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclasses.dataclass(frozen=True)
class Layer:
    """One operator of a model.

    Attributes:
        name: TFLite's name of the operator.
        kernel: shape of its second input, () if there is none.
        outputs: shape of its first output.
    """

    name: str
    kernel: tuple[int, ...]
    outputs: tuple[int, ...]


class FlatbufferInfo:
    """The subgraph of a converted classifier, which has only one."""

    def __init__(self, content: bytes) -> None:
        self._model = schema.Model.GetRootAs(content, 0)
        self._subgraph = self._model.Subgraphs(0)

    def operators(self) -> dict[str, int]:
        """Counts each operator, in the order of first use."""
        return dict(collections.Counter(name for name, _ in self._operators()))

    def multiply_accumulates(self) -> int:
        """Counts multiply-accumulates of convolutions and dense layers per image."""
        total = 0
        for name, operator in self._operators():
            if name in _WEIGHTED:
                kernel = self._shape(operator.Inputs(1))
                outputs = int(np.prod(self._shape(operator.Outputs(0))))
                # Kernels are [out, h, w, in], depthwise ones [1, h, w, out].
                depthwise = name == "DEPTHWISE_CONV_2D"
                each = kernel[1:3] if depthwise else kernel[1:]
                total += outputs * int(np.prod(each))
        return total

    def quantised_kernels(self) -> dict[str, int]:
        """Counts the integer kernels of convolutions and dense layers by their scales.

        Returns:
            "per_channel": kernels with a scale for each output channel, "per_tensor":
            those with one scale for several; empty if no kernel has integers.
        """
        found = collections.Counter()
        for name, operator in self._operators():
            if name not in _WEIGHTED:
                continue
            tensor = self._subgraph.Tensors(operator.Inputs(1))
            quantization = tensor.Quantization()
            scales = quantization.ScaleLength() if quantization else 0
            if scales:
                channels = self._shape(operator.Outputs(0))[-1]
                found["per_channel" if scales == channels else "per_tensor"] += 1
        return dict(found)

    def float_operators(self) -> list[str]:
        """Names the operators with float outputs but those that change the type."""
        return [
            name
            for name, operator in self._operators()
            if name not in ("QUANTIZE", "DEQUANTIZE")
            and self._subgraph.Tensors(operator.Outputs(0)).Type()
            == schema.TensorType.FLOAT32
        ]

    def input_quantization(self) -> tuple[float, int]:
        """Scale and zero point of the input, after a first QUANTIZE; or (0, 0)."""
        index = self._subgraph.Inputs(0)
        if self._subgraph.Tensors(index).Type() == schema.TensorType.FLOAT32:
            name, first = next(self._operators())
            index = first.Outputs(0) if name == "QUANTIZE" else index
        found = self._subgraph.Tensors(index).Quantization()
        if found is None or found.ScaleLength() == 0:
            return 0.0, 0
        return float(found.Scale(0)), int(found.ZeroPoint(0))

    def output_quantization(self) -> tuple[float, int]:
        """Scale and zero point of the output; (0, 0) of a float one."""
        found = self._subgraph.Tensors(self._subgraph.Outputs(0)).Quantization()
        if found is None or found.ScaleLength() == 0:
            return 0.0, 0
        return float(found.Scale(0)), int(found.ZeroPoint(0))

    def output_operator(self) -> tuple[str, float]:
        """Finds the operator that computes the output, and its quantisation step.

        The step of a DEQUANTIZE is that of its input. Returns "" and 0 if unknown.
        """
        made = {
            operator.Outputs(place): (name, operator)
            for name, operator in self._operators()
            for place in range(operator.OutputsLength())
        }
        index = self._subgraph.Outputs(0)
        step = self._scale(index)
        for _ in range(len(made)):
            name, operator = made.get(index, ("", None))
            if name not in _CARRIERS:
                return name, step
            index = operator.Inputs(0)
            step = step or self._scale(index)
        return "", step

    def _scale(self, index: int) -> float:
        found = self._subgraph.Tensors(index).Quantization()
        if found is None or found.ScaleLength() != 1:
            return 0.0
        return float(found.Scale(0))

    def min_runtime_version(self) -> str | None:
        """Reads the oldest runtime that the converter recorded; None if none."""
        for index in range(self._model.MetadataLength()):
            entry = self._model.Metadata(index)
            if entry.Name() == b"min_runtime_version":
                noted = self._model.Buffers(entry.Buffer()).DataAsNumpy()
                return noted.tobytes().rstrip(b"\0").decode() or None
        return None

    def layers(self) -> Iterator[Layer]:
        """Yields every operator, in order."""
        for name, operator in self._operators():
            two = operator.InputsLength() > 1 and operator.Inputs(1) >= 0
            kernel = self._shape(operator.Inputs(1)) if two else []
            yield Layer(name, tuple(kernel), tuple(self._shape(operator.Outputs(0))))

    def _operators(self) -> Iterator[tuple[str, schema.Operator]]:
        for index in range(self._subgraph.OperatorsLength()):
            operator = self._subgraph.Operators(index)
            code = self._model.OperatorCodes(operator.OpcodeIndex())
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            yield _NAMES.get(number, str(number)), operator

    def _shape(self, index: int) -> list[int]:
        return self._subgraph.Tensors(index).ShapeAsNumpy().tolist()
