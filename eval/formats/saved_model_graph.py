"""The graph of a SavedModel's signature: which operator makes an answer."""

from typing import Any

_CARRIERS = ("Identity", "Reshape", "Squeeze", "Cast", "StopGradient", "EnsureShape")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def last_operator(function: Any, key: str) -> str:
    """TensorFlow's name for the operator that makes output `key`; "" where unclear."""
    tensor = function.outputs[sorted(function.structured_outputs).index(key)]
    graph = function.graph.as_graph_def()
    library = {fdef.signature.name: fdef for fdef in graph.library.function}
    return _walk({node.name: node for node in graph.node}, tensor.name, library)


def _walk(nodes: dict[str, Any], name: str, library: dict[str, Any]) -> str:
    """Follows the tensor `name` among `nodes` to where its numbers are made."""
    for _ in range(len(nodes)):
        parts = name.split(":")
        node = nodes.get(parts[0])
        if node is None:
            return ""
        if node.op in _CALLS:
            called = library.get(node.attr["f"].func.name)
            place = int(parts[-1]) if len(parts) > 1 else 0
            if called is None or place >= len(called.signature.output_arg):
                return ""
            inner = called.ret[called.signature.output_arg[place].name]
            return _walk({n.name: n for n in called.node_def}, inner, library)
        if node.op not in _CARRIERS:
            return node.op
        name = node.input[0]
    return ""
