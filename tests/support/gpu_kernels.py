"""Which operators of a graph no GPU has a kernel for, by TensorFlow's own list."""

import tensorflow as tf
from tensorflow.python.framework import kernels

HOST_OPERATORS = {"Placeholder", "While", "StatelessWhile", "PartitionedCall"}
HOST_OPERATORS |= {"StatefulPartitionedCall", "_Retval", "_Arg", "NoOp", "Const"}


def _operators(graph_def) -> set[tuple[str, str]]:
    """(operator, its type attribute if any) of a graph and all its functions."""
    nodes = list(graph_def.node)
    for function in graph_def.library.function:
        nodes += function.node_def
    return {(n.op, n.attr["T"].type if "T" in n.attr else 0) for n in nodes}


def without_gpu_kernel(graph: tf.Graph) -> list[tuple[str, str]]:
    """Operators that run on the device, with their type, and have no GPU kernel."""
    missing = []
    for name, kind in _operators(graph.as_graph_def()):
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
