"""Which operators of a graph no GPU can run, by TensorFlow's own list of kernels.

With deterministic operators, the default, some kernels raise an error. Their names are
those in the messages inside TensorFlow 2.21's library:
`strings libtensorflow_cc.so.2 | grep -i determinis`.
"""

import tensorflow as tf
from tensorflow.python.framework import kernels

HOST_OPERATORS = {"Placeholder", "While", "StatelessWhile", "PartitionedCall"}
HOST_OPERATORS |= {"StatefulPartitionedCall", "_Retval", "_Arg", "NoOp", "Const"}

# Their kernels of int32 for GPUs work in the host's memory.
ARITHMETIC = {"Abs", "AddV2", "FloorDiv", "FloorMod", "GreaterEqual", "Less", "Maximum"}
ARITHMETIC |= {"Minimum", "Mul", "Neg", "Greater", "LessEqual", "Sub", "Equal", "Sum"}

NOT_DETERMINISTIC = {
    "AdjustContrast",
    "AdjustContrastv2",
    "Bincount",
    "CropAndResizeGradBoxes",
    "CropAndResizeGradImage",
    "DenseBincount",
    "Dilation2DBackpropFilter",
    "Dilation2DBackpropInput",
    "FakeQuantWithMinMaxVarsGradient",
    "FakeQuantWithMinMaxVarsPerChannelGradient",
    "MaxPoolGradWithArgmax",
    "ResizeNearestNeighborGrad",
    "SparseTensorDenseMatMul",
}


def not_deterministic(graph_def) -> set[str]:
    """Operators whose GPU kernel raises an error if it has to be deterministic."""
    nodes = list(_nodes(graph_def))
    found = {node.op for node in nodes} & NOT_DETERMINISTIC
    return found | {
        node.op
        for node in nodes
        if node.op.startswith("FusedBatchNormGrad") and not node.attr["is_training"].b
    }


def _nodes(graph_def):
    """The nodes of a graph and of all its functions."""
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _operators(graph_def) -> set[tuple[str, str]]:
    """(operator, its type attribute if any) of a graph and all its functions."""
    nodes = _nodes(graph_def)
    return {(n.op, n.attr["T"].type if "T" in n.attr else 0) for n in nodes}


def without_gpu_kernel(graph: tf.Graph) -> list[tuple[str, str]]:
    """Operators that run on the device, with their type, and have no GPU kernel.

    Also those whose kernel is not deterministic, or computes on the host.
    """
    graph_def = graph.as_graph_def()
    missing = [(name, "deterministic") for name in not_deterministic(graph_def)]
    missing += [(name, "on the host") for name in on_host(graph, graph_def)]
    for name, kind in _operators(graph_def):
        if name in HOST_OPERATORS:
            continue
        found = kernels.get_registered_kernels_for_op(name).kernel
        on_gpu = [k for k in found if k.device_type in ("GPU", "DEFAULT")]
        if kind:
            on_gpu = [k for k in on_gpu if _takes(k, kind)]
        if not on_gpu:
            missing.append((name, tf.dtypes.as_dtype(kind).name if kind else ""))
    return missing


def _takes(kernel, kind: int) -> bool:
    """Whether the kernel is registered for type attribute T = `kind` (or any)."""
    limits = [c for c in kernel.constraint if c.name == "T"]
    return all(kind in c.allowed_values.list.type for c in limits)


def on_host(graph: tf.Graph, graph_def) -> set[str]:
    """Arithmetic of int32 that depends on data: a GPU leaves it to the host.

    TensorFlow's kernels of int32 arithmetic for GPUs work in the host's memory, so that
    what a GPU has computed is copied there and back, and the GPU waits. Names of
    operators with more than one number; what is constant is computed once.
    """
    found = set()
    for part in _graphs(graph, graph_def):
        constant = set()
        for operator in part.get_operations():
            if operator.type == "Placeholder":
                continue
            if all(x.op.name in constant for x in operator.inputs):
                constant.add(operator.name)
            elif _computes_on_host(operator):
                found.add(f"{operator.type} {operator.name}")
    return found


def _graphs(graph: tf.Graph, graph_def):
    """A graph and those of all functions that it calls."""
    yield graph
    for function in graph_def.library.function:
        inner = graph._get_function(function.signature.name)
        if inner is not None and hasattr(inner, "graph"):
            yield inner.graph


def _computes_on_host(operator: tf.Operation) -> bool:
    if operator.type not in ARITHMETIC or operator.get_attr("T") != tf.int32:
        return False
    return operator.outputs[0].shape.num_elements() != 1
