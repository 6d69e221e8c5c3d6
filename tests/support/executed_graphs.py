"""The graph that TensorFlow executes, after its optimizers have changed it."""

import collections
from collections.abc import Callable, Iterable

from tensorflow.core.framework import graph_pb2
from tensorflow.python.eager import context

_WRITES = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")


def executed_graphs(call: Callable[[], object]) -> list[graph_pb2.GraphDef]:
    """The graphs that `call` executes; nothing may have executed them before."""
    current = context.context()
    current.enable_run_metadata()
    current.enable_graph_collection()
    call()
    found = current.export_run_metadata()
    current.disable_graph_collection()
    current.disable_run_metadata()
    return [g for f in found.function_graphs for g in f.partition_graphs]


def unordered_reads(graph: graph_pb2.GraphDef) -> list[tuple[str, str]]:
    """The pairs of a read and a write of one variable that may happen in any order.

    Those of two iterations of a loop do not count.
    """
    inputs = {
        node.name: [_name(i) for i in node.input] * (node.op != "NextIteration")
        for node in graph.node
    }
    readers = collections.defaultdict(list)
    for name, before in inputs.items():
        for each in before:
            readers[each].append(name)
    reads = collections.defaultdict(list)
    for node in graph.node:
        if node.op == "ReadVariableOp":
            reads[node.input[0]].append(node.name)
    found = []
    for write in graph.node:
        if write.op in _WRITES and reads[write.input[0]]:
            ordered = _reachable(write.name, inputs) | _reachable(write.name, readers)
            found += [
                (r, write.name) for r in reads[write.input[0]] if r not in ordered
            ]
    return found


def _name(given: str) -> str:
    return given.lstrip("^").split(":")[0]


def _reachable(start: str, edges: dict[str, Iterable[str]]) -> set[str]:
    seen, todo = set(), [start]
    while todo:
        for name in edges.get(todo.pop(), ()):
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return seen
