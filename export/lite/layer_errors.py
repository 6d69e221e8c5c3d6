"""Compares an integer `.tflite` with its float network, layer by layer.

The float network is converted from the same function, so that a layer's output has the
same tensor name in both files. An error contains those of the layers before it; what a
layer adds is its error minus the largest error of its inputs.
"""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert

from export.artifact.serving_module import ServingModule
from export.lite import converter
from export.lite.calibration_images import CalibrationImages
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE

IMAGES = 16  # calibration images that are compared
SHOWN = 3  # layers that a message names
_SCOPE = re.compile(r"body(_\d+)?/(.+)")  # TensorFlow numbers a scope's second use
_KERNELS = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
_LEFT_OUT = ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SOFTMAX")  # no layers of a network
_SMALLEST = 1e-12  # mean square below which an output counts as zero


@dataclasses.dataclass(frozen=True)
class LayerError:
    """The error of one operator's output, over all its numbers and images.

    Attributes:
        layer: the layers that the operator computes, joined by "+".
        operator: TFLite's name of it.
        shape: of the output, [1, ...].
        error: root mean square of the difference from the float network, divided by
            that of the float network's output.
        added: what this operator adds to the largest error of its inputs, at least 0.
    """

    layer: str
    operator: str
    shape: tuple[int, ...]
    error: float
    added: float

    def to_json(self) -> dict[str, Any]:
        """Returns the row of the manifest's table."""
        rounded = {"error": round(self.error, 5), "added": round(self.added, 5)}
        return dataclasses.asdict(self) | {"shape": list(self.shape)} | rounded


def measure(
    network: ServingModule, content: bytes, images: CalibrationImages
) -> list[LayerError]:
    """Measures the error of each layer of the integer model `content`, in its order.

    Args:
        network: the float network that `content` was converted from.
        images: the first IMAGES of them are run through both networks.
    """
    with CONSOLE.phase("comparing each layer with the float network"):
        plain = converter.convert_plain(network)
        with native_output.suppress_native_stderr():
            exact, integer = _Trace(plain), _Trace(content)
        shared = [name for name in integer.outputs if name in exact.outputs]
        sums = {name: np.zeros(2) for name in shared}  # of squares: difference, output
        for [image] in itertools.islice(images.normalised(), IMAGES):
            exact.run(image)
            integer.run(image)
            for name in shared:
                value = exact.output(name)
                difference = integer.output(name) - value
                sums[name] += [np.square(each).sum() for each in (difference, value)]
    errors = {
        name: float(np.sqrt(difference / max(whole, _SMALLEST)))
        for name, (difference, whole) in sums.items()
    }
    return integer.rows(errors)


def describe_worst(errors: Sequence[LayerError]) -> str:
    """Names the layers that add most, such as "stem +12.0 %, classes +3.1 %"."""
    worst = sorted(errors, key=lambda each: -each.added)[:SHOWN]
    return ", ".join(f"{each.layer} +{each.added:.1%}" for each in worst)


def find_worst(errors: Sequence[LayerError], count: int) -> list[str]:
    """Names the `count` layers that add most, in the order of the network."""
    worst = sorted(errors, key=lambda each: -each.added)[:count]
    return [each.layer for each in errors if each in worst]


def find_outputs(content: bytes, layers: Sequence[str]) -> list[str]:
    """Names the output tensors of `layers` in the float model `content`."""
    with native_output.suppress_native_stderr():
        outputs = _Trace(content).outputs
    return [name for name in outputs if layer_name(name) in layers]


def layer_name(tensor: str) -> str:
    """Names the layers of a tensor in the order in which they are computed.

    >>> layer_name("body_1/stem_relu_1/Relu;body_1/stem_conv_1/convolution")
    'stem_conv+stem_relu'
    """
    found = []
    for part in tensor.split(";"):
        if scope := _SCOPE.match(part):
            layer = scope[2].split("/")[0]
            layer = layer.removesuffix(scope[1] or "")
            if layer not in found:
                found.append(layer)
    return "+".join(reversed(found)) or tensor


class _Trace:
    """A model whose tensors can all be read after a run, dequantised.

    Attributes:
        outputs: index of the first output of each operator by the tensor's name.
    """

    def __init__(self, content: bytes) -> None:
        self._model = litert.Interpreter(
            model_content=content,
            experimental_op_resolver_type=_KERNELS,
            experimental_preserve_all_tensors=True,
        )
        self._model.allocate_tensors()
        self._tensors = {
            each["index"]: each for each in self._model.get_tensor_details()
        }
        self._operators = {
            int(each["outputs"][0]): each for each in self._model._get_ops_details()
        }
        self.outputs = {self._tensors[i]["name"]: i for i in self._operators}

    def run(self, image: np.ndarray) -> None:
        """Runs the model on (pixel - 128) / 128, float32 [1, H, W, C]."""
        [source] = self._model.get_input_details()
        scale, zero_point = source["quantization"]
        if source["dtype"] is not np.float32:
            limits = np.iinfo(source["dtype"])
            whole = np.round(image / scale) + zero_point
            image = whole.clip(limits.min, limits.max).astype(source["dtype"])
        self._model.set_tensor(source["index"], image)
        self._model.invoke()

    def output(self, name: str) -> np.ndarray:
        """Returns the output `name` of an operator, float64."""
        index = self.outputs[name]
        value = self._model.get_tensor(index).astype(np.float64)
        scale, zero_point = self._tensors[index]["quantization"]
        return (value - zero_point) * scale if scale else value

    def rows(self, errors: Mapping[str, float]) -> list[LayerError]:
        """Returns a row for each operator whose output is in `errors`, in order."""
        found, known = [], {}
        for index, operator in self._operators.items():
            tensor = self._tensors[index]
            before = max((known.get(i, 0.0) for i in operator["inputs"]), default=0.0)
            error = known[index] = errors.get(tensor["name"], before)
            if tensor["name"] in errors and operator["op_name"] not in _LEFT_OUT:
                found.append(
                    LayerError(
                        layer=layer_name(tensor["name"]),
                        operator=operator["op_name"],
                        shape=tuple(int(n) for n in tensor["shape"]),
                        error=error,
                        added=max(error - before, 0.0),
                    )
                )
        return found
