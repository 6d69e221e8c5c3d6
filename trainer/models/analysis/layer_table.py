"""The table of a network's layers: shapes, parameters, multiply-adds, memory.

Synopsis::

    for line in layer_table.describe(model.get_layer("body"), "float32"):
        print(line)
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import keras

from trainer.models.analysis import receptive_field
from trainer.models.analysis.multiply_adds import (
    Call,
    calls,
    multiply_adds,
    output_elements,
)
from trainer.models.analysis.receptive_field import Field

TITLES = (
    "layer",
    "kind",
    "output",
    "parameters",
    "multiply-adds",
    "receptive field",
    "activations",
)
RIGHT = TITLES.index("parameters")  # from here on columns are numbers
KIB = 2**10
HALF = ("mixed_bfloat16", "mixed_float16")
# Layers that may write over their input, as inference engines let them.
IN_PLACE = (
    keras.layers.Activation,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.ReLU,
    keras.layers.Reshape,
    keras.layers.Softmax,
)


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """What one layer costs for one image.

    Attributes:
        name: of the layer.
        kind: its class.
        shape: of its output, without the batch.
        parameters: number of its variables' elements, if this is its first call.
        multiply_adds: of convolutions and matrix products.
        field: the receptive field.
        size: number of elements of its outputs.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    parameters: int
    multiply_adds: int
    field: Field
    size: int


@dataclasses.dataclass(frozen=True)
class NetworkCost:
    """What a network costs for one image.

    Attributes:
        layers: each call of a layer in order, the input first.
        parameters: elements of all variables.
        trained: of those, the trained ones.
        size: elements of all outputs, which training keeps for the backward pass.
        live: the most elements that inference needs at once, if activations and
            batch normalisation write over their inputs.
    """

    layers: tuple[LayerCost, ...]
    parameters: int
    trained: int
    size: int
    live: int

    @property
    def multiply_adds(self) -> int:
        """Those of all layers."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def field(self) -> Field:
        """The largest receptive field that is not the whole image."""
        fields = [x.field for x in self.layers if not x.field.whole]
        if not all(field.known for field in fields):
            return receptive_field.UNKNOWN
        return max(fields, key=lambda field: field.size)


def measure(body: keras.Model) -> NetworkCost:
    """Measures the layers of the network `body` from shapes; nothing is run."""
    known = list(calls(body))
    fields: dict[int, Field] = {}
    counted: set[int] = set()
    layers = [_cost(call, fields, counted) for call in known]
    trained = sum(math.prod(v.shape) for v in body.trainable_variables)
    return NetworkCost(
        layers=tuple(layers),
        parameters=int(body.count_params()),
        trained=trained,
        size=sum(layer.size for layer in layers),
        live=_live(known),
    )


def _cost(call: Call, fields: dict[int, Field], counted: set[int]) -> LayerCost:
    layer, inputs, output = call.operation, call.input_tensors, call.outputs[0]
    if inputs:
        before = receptive_field.joined([fields[id(x)] for x in inputs])
        field = receptive_field.follow(layer, before, inputs[0].shape, output.shape)
    else:
        field = Field()
    fields |= {id(x): field for x in call.outputs}
    first = id(layer) not in counted
    counted.add(id(layer))
    return LayerCost(
        name=layer.name,
        kind=type(layer).__name__,
        shape=tuple(output.shape[1:]),
        parameters=_parameters(layer) if first else 0,
        multiply_adds=multiply_adds(call),
        field=field,
        size=output_elements(call),
    )


def _parameters(layer: keras.Operation) -> int:
    return sum(math.prod(v.shape) for v in getattr(layer, "variables", ()))


def _elements(tensor: keras.KerasTensor) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])


def _live(known: Sequence[Call]) -> int:
    """The most elements that are needed at once when the calls run in their order."""
    last = {id(x): n for n, call in enumerate(known) for x in call.input_tensors}
    held: dict[int, int] = {}
    most = 0
    for number, call in enumerate(known):
        ending = [id(x) for x in call.input_tensors if last[id(x)] == number]
        reused = max((held[x] for x in ending), default=0) if _in_place(call) else 0
        made = {id(x): _elements(x) for x in call.outputs}
        most = max(most, sum(held.values()) + sum(made.values()) - reused)
        held |= made
        for key in ending:
            held.pop(key, None)
    return most


def _in_place(call: Call) -> bool:
    layer = call.operation
    same = bool(call.input_tensors) and _elements(call.outputs[0]) == _elements(
        call.input_tensors[0]
    )
    ours = type(layer).__module__.startswith("trainer.")
    return same and (ours or isinstance(layer, IN_PLACE))


def describe(body: keras.Model, precision: str) -> Iterator[str]:
    """Yields the lines of the table of `body` and its totals.

    `precision` is the Keras dtype policy of the training, which decides the bytes.
    """
    cost, each = measure(body), 2 if precision in HALF else 4
    if precision == "float64":
        each = 8
    rows = [TITLES, *(_row(layer, each) for layer in cost.layers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if place >= RIGHT else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
    yield from _totals(cost, each)


def _row(layer: LayerCost, each: int) -> tuple[str, ...]:
    return (
        layer.name,
        layer.kind,
        " x ".join(str(size or "?") for size in layer.shape),
        f"{layer.parameters:,}" if layer.parameters else "",
        f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        str(layer.field),
        _kib(layer.size * each),
    )


def _totals(cost: NetworkCost, each: int) -> Iterator[str]:
    height, width, _ = cost.layers[0].shape
    yield (
        f"{cost.parameters:,} parameters, {cost.trained:,} of them trained; "
        f"{cost.multiply_adds:,} multiply-adds per image"
    )
    yield (
        f"the receptive field is {cost.field} pixels before the whole image of "
        f"{height} x {width} is averaged"
    )
    yield (
        f"activations of an image: {_kib(cost.size * each)} in training, which keeps "
        f"them all; at once at most {_kib(cost.live * 4)} in float32, "
        f"{_kib(cost.live)} in int8"
    )


def _kib(count: int) -> str:
    return f"{count / KIB:,.1f} KiB"
