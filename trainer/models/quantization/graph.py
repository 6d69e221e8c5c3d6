"""Plans how the layers of a network become those of an int8 network.

An int8 network has a range for each tensor: that of a convolution lies behind its batch
normalisation and ReLU, which disappear in it, and layers that only move numbers keep
the range of their input.
"""

import collections
import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import keras

from trainer.errors import InvalidInput
from trainer.models import layers

KERNELS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dense,
    layers.Whitening,
)
# Names of classes, of layers and of operations of keras.ops alike.
MOVING = {  # their outputs are numbers of their input, or zeros; identity in inference
    "AlphaDropout",
    "Cropping2D",
    "Dropout",
    "ExpandDims",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GetItem",
    "GlobalMaxPooling2D",
    "Identity",
    "MaxPooling2D",
    "Pad",
    "Permute",
    "Reshape",
    "Squeeze",
    "StochasticDepth",
    "Transpose",
    "ZeroPadding2D",
}
AVERAGING = {"AveragePooling2D"}  # TFLite's has the scale of its input
COMPUTING = {  # any other function of their inputs that TFLite has in int8
    "Activation",
    "Add",
    "Concatenate",
    "GlobalAveragePooling2D",
    "LeakyReLU",
    "Maximum",
    "Mean",
    "Minimum",
    "Multiply",
    "ReLU",
    "Relu",
    "Relu6",
    "Sigmoid",
    "Silu",
    "Subtract",
}
FUSING = {"Add", "Multiply", "Subtract"}  # TFLite computes a ReLU within these
_RELU = ("relu", "relu6")
# Of layers; hard_sigmoid and hard_silu are several operators without ranges between.
ACTIVATIONS = ("linear", *_RELU, "sigmoid", "silu", "swish", "tanh")


class Rule(enum.Enum):
    """What becomes of a layer."""

    KERNEL = "rounded kernel"
    AFFINE = "1x1 convolution with rounded kernel: it scales channels exactly"
    FOLDED = "nothing: a part of the layer before"
    MOVING = "itself, with the range of its input"
    AVERAGING = "itself, rounded to the range of its input"
    COMPUTING = "itself"
    LOGITS = "itself, in float"


@dataclasses.dataclass(frozen=True)
class Plan:
    """The rules for all operations of a network, by the operation's name.

    Attributes:
        rules: what becomes of each operation.
        norms: the batch normalisation or scaling that is folded into a layer with a
            kernel, by the name of that layer.
        unranged: operations whose output has no range of its own as the ReLU behind
            them is computed with them.
    """

    rules: Mapping[str, Rule]
    norms: Mapping[str, keras.layers.Layer]
    unranged: frozenset[str]


def plan(body: keras.Model) -> Plan:
    """Plans the rewriting of `body`.

    Raises:
        InvalidInput: there is no rule for a layer.
    """
    calls, readers = nodes(body), _readers(body)
    times = collections.Counter(node.operation.name for node in calls)
    rules = {node.operation.name: _rule(node.operation) for node in calls}
    norms, unranged = {}, set()
    for node in calls:
        first = last = node.operation
        then = _only_reader(readers, node)
        if then is None or {times[first.name], times[then.operation.name]} != {1}:
            continue
        linear = activation_of(first) == "linear"
        if rules[first.name] is Rule.KERNEL and linear and _scales(then.operation):
            last = norms[first.name] = then.operation
            rules[last.name] = Rule.FOLDED
            then = _only_reader(readers, then)
        fuses = rules[first.name] in (Rule.KERNEL, Rule.AFFINE) and linear
        fuses |= type(first).__name__ in FUSING
        if fuses and then is not None and is_relu(then.operation):
            unranged |= {first.name, last.name}
    for node in calls:
        if rules[node.operation.name] is Rule.AFFINE:
            _check_images(node)
    return Plan(rules, norms, frozenset(unranged))


def _check_images(node: Any) -> None:
    """Raises InvalidInput unless the output is [N, H, W, C]: TFLite scales no other."""
    if len(node.outputs[0].shape) != 4:
        raise InvalidInput(
            f"`qat` cannot fold layer {node.operation.name} into one before it; "
            "put it directly behind a layer without activation"
        )


def nodes(body: keras.Model) -> list[Any]:
    """Lists the calls of operations in `body` but those of inputs, in order."""
    depths = sorted(body._nodes_by_depth, reverse=True)
    return [n for d in depths for n in body._nodes_by_depth[d] if not n.is_input]


def activation_of(layer: keras.layers.Layer) -> str:
    """Names the activation inside `layer`; "linear" if there is none."""
    function = getattr(layer, "activation", None)
    return "linear" if function is None else function.__name__


def is_relu(operation: keras.Operation) -> bool:
    """Whether TFLite computes the operation within the one before it."""
    kind = type(operation).__name__
    if kind == "ReLU":
        plain = not operation.negative_slope and not operation.threshold
        return plain and operation.max_value in (None, 6.0)
    if kind == "Activation":
        return activation_of(operation) in _RELU
    return kind in ("Relu", "Relu6")


def _rule(operation: keras.Operation) -> Rule:
    kind = type(operation).__name__
    word = activation_of(operation)
    if word not in ACTIVATIONS:
        raise InvalidInput(
            f"`qat` has no rule for activation={word} of layer {operation.name}, only "
            f"for {', '.join(ACTIVATIONS)}"
        )
    if type(operation) in KERNELS:
        if getattr(operation, "data_format", "channels_last") == "channels_last":
            return Rule.KERNEL
    elif _scales(operation) or isinstance(operation, layers.Affine):
        return Rule.AFFINE
    elif isinstance(operation, layers.Logits):
        return Rule.LOGITS
    for names, rule in (
        (MOVING, Rule.MOVING),
        (AVERAGING, Rule.AVERAGING),
        (COMPUTING, Rule.COMPUTING),
    ):
        if kind in names:
            return rule
    raise InvalidInput(
        f"`qat` has no rule for layer {operation.name} ({kind}) of this network; "
        "export it with scheme=int16x8 or float16 instead"
    )


def _readers(body: keras.Model) -> dict[int, list[Any]]:
    found = {}
    for node in nodes(body):
        for tensor in node.input_tensors:
            found.setdefault(id(tensor), []).append(node)
    return found


def _only_reader(readers: Mapping[int, list[Any]], node: Any) -> Any | None:
    """Returns the one call that reads the output of `node`; None if others do."""
    found = readers.get(id(node.outputs[0]), [])
    return found[0] if len(found) == 1 else None


def _scales(operation: keras.Operation) -> bool:
    """Whether the operation scales and shifts channels, and nothing else."""
    return isinstance(operation, layers.BatchNorm | layers.Scale)
