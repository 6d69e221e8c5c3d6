"""Counts the multiply-adds of a network for one image, layer by layer.

Convolutions and dense layers are counted from the shapes of kernels and outputs. Layers
that may contain products of another kind, such as attention and a user's own layers,
are traced: their convolutions and matrix products are counted in the graph.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import tree

Call = Any  # a node of a Keras graph: an operation with its arguments and outputs

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_KERNEL = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dense,
)
# Modules of Keras whose layers multiply no matrices.
_FREE = (
    "activations",
    "core.input_layer",
    "merging",
    "normalization",
    "pooling",
    "preprocessing",
    "regularization",
    "reshaping",
)


def calls(body: keras.Model) -> Iterator[Call]:
    """Yields the calls of a functional model in the order of its graph."""
    for depth in sorted(body._nodes_by_depth, reverse=True):
        yield from body._nodes_by_depth[depth]


def output_elements(call: Call) -> int:
    """Counts the numbers of the outputs of one call for one image."""
    return sum(math.prod(size or 1 for size in x.shape[1:]) for x in call.outputs)


def count_multiply_adds(body: keras.Model) -> int:
    """Counts the multiply-adds of convolutions and matrix products for one image."""
    return sum(multiply_adds(call) for call in calls(body))


def multiply_adds(call: Call) -> int:
    """Counts the multiply-adds of one call for one image."""
    layer = call.operation
    places = call.outputs[0].shape[1:-1]
    match layer:
        case keras.layers.InputLayer():
            return 0
        case _ if isinstance(layer, _TRANSPOSED):
            kernel, places = layer.kernel.shape, call.input_tensors[0].shape[1:-1]
        case _ if isinstance(layer, _SEPARABLE):
            kernels = (layer.depthwise_kernel.shape, layer.pointwise_kernel.shape)
            return sum(map(math.prod, kernels)) * math.prod(places)
        case _ if isinstance(layer, _KERNEL) or _own_kernel(layer):
            kernel = layer.kernel.shape
        case _ if _is_free(layer):
            return 0
        case _:
            return _count_traced(call)
    # A kernel is [h, w, channels of a group, outputs], a depthwise one
    # [h, w, channels, multiplier]: each number is used once at each place.
    return math.prod(kernel) * math.prod(places)


def _own_kernel(layer: keras.Operation) -> bool:
    ours = type(layer).__module__.startswith("trainer.")
    return ours and hasattr(layer, "kernel")


def _is_free(layer: keras.Operation) -> bool:
    if isinstance(layer, keras.layers.Dot):
        return False
    module = type(layer).__module__
    known = tuple(f"keras.src.layers.{name}" for name in _FREE)
    return module.startswith(("trainer.", *known))


def _count_traced(call: Call) -> int:
    """Traces the call for one image and counts the products in its graph."""

    def run(*given: tf.Tensor) -> Any:
        found = dict(zip(map(id, call.input_tensors), given, strict=True))
        args, kwargs = call.arguments.fill_in(found)
        return tree.flatten(call.operation(*args, **kwargs))

    specs = [
        tf.TensorSpec([1, *(size or 1 for size in x.shape[1:])], x.dtype)
        for x in call.input_tensors
    ]
    traced = tf.function(run, autograph=False).get_concrete_function(*specs)
    return sum(map(_count_node, traced.graph.get_operations()))


def _count_node(node: tf.Operation) -> int:
    """Counts the multiply-adds of a node of a TensorFlow graph."""
    shapes = [tuple(size or 1 for size in (x.shape or ())) for x in node.inputs]
    match node.type:
        case "Conv2D" | "Conv3D":
            return _size(node) * math.prod(shapes[1][:-1])
        case "DepthwiseConv2dNative":
            return _size(node) * math.prod(shapes[1][:2])
        case "Conv2DBackpropInput" | "Conv3DBackpropInputV2":
            return math.prod(shapes[2]) * math.prod(shapes[1][:-1])
        case "MatMul":
            return _size(node) * shapes[0][0 if node.get_attr("transpose_a") else 1]
        case "BatchMatMulV2":
            return _size(node) * shapes[0][-2 if node.get_attr("adj_x") else -1]
        case "Einsum":
            return _size(node) * _contracted(node.get_attr("equation"), shapes)
    return 0


def _size(node: tf.Operation) -> int:
    return math.prod(size or 1 for size in node.outputs[0].shape)


def _contracted(equation: bytes, shapes: Sequence[tuple[int, ...]]) -> int:
    """The number of products that an Einsum adds up for one number of its output.

    >>> _contracted(b"abc,cd->abd", [(1, 7, 5), (5, 2)])
    5
    """
    left, _, right = equation.decode().partition("->")
    sizes: dict[str, int] = {}
    for labels, shape in zip(left.split(","), shapes, strict=True):
        before, _, after = labels.partition("...")
        sizes |= dict(zip(before, shape, strict=False))
        sizes |= dict(zip(reversed(after), reversed(shape), strict=False))
    return math.prod(size for label, size in sizes.items() if label not in right)
