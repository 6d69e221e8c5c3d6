"""Finds the operator that computes an output in the graph of a SavedModel."""

from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.types.experimental import ConcreteFunction

_CARRIERS = ("Identity", "Reshape", "Squeeze", "Cast", "StopGradient", "EnsureShape")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def last_operator(function: ConcreteFunction, key: str) -> str:
    """Finds TensorFlow's name of the operator behind output `key`; "" if unclear."""
    tensor = function.outputs[sorted(function.structured_outputs).index(key)]
    graph = function.graph.as_graph_def()
    library = {fdef.signature.name: fdef for fdef in graph.library.function}
    return _walk({node.name: node for node in graph.node}, tensor.name, library)


def _walk(nodes: dict[str, NodeDef], name: str, library: dict[str, FunctionDef]) -> str:
    """Follows the tensor `name` among `nodes` to the operator that computes it."""
    for _ in range(len(nodes)):
        parts = name.split(":")
        node = nodes.get(parts[0])
        if node is None:
            return ""
        if node.op in _CALLS:
            called = library.get(node.attr["f"].func.name)
            index = int(parts[-1]) if len(parts) > 1 else 0
            if called is None or index >= len(called.signature.output_arg):
                return ""
            inner = called.ret[called.signature.output_arg[index].name]
            return _walk({n.name: n for n in called.node_def}, inner, library)
        if node.op not in _CARRIERS:
            return node.op
        name = node.input[0]
    return ""
