"""The steps of a network and where their tensors lie."""

import dataclasses

import numpy as np

from export.microcontroller.standalone import operator_steps
from export.microcontroller.standalone.arena import Buffer, plan_offsets
from export.microcontroller.standalone.integer_graph import (
    GraphOperator,
    IntegerGraph,
    Tensor,
)
from export.microcontroller.standalone.steps import Step, refuse
from trainer.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Program:
    """A network as calls of kernels.

    Attributes:
        steps: in their order.
        places: for the number of each tensor, its offset in the arena, or "pixels" or
            "probabilities".
        scratch: for each step, the offset of its scratch memory.
        arena_bytes: size of the arena.
        constant_bytes: size of all weights and other arrays.
    """

    steps: tuple[Step, ...]
    places: dict[int, int | str]
    scratch: tuple[int, ...]
    arena_bytes: int
    constant_bytes: int
    image_shape: tuple[int, int, int]
    classes: int


def build_program(graph: IntegerGraph) -> Program:
    """Builds the program of `graph`.

    Raises:
        InvalidInput: it has an operator that there is no kernel for.
    """
    steps, same = _steps(graph)
    places, buffers, scratch = _lifetimes(graph, steps, same)
    offsets, arena_bytes = plan_offsets(buffers)
    height, width, channels = graph.input.shape[1:]
    return Program(
        steps=tuple(steps),
        places={t: p if isinstance(p, str) else offsets[p] for t, p in places.items()},
        scratch=tuple(-1 if s is None else offsets[s] for s in scratch),
        arena_bytes=arena_bytes,
        constant_bytes=sum(_constant_bytes(step) for step in steps),
        image_shape=(height, width, channels),
        classes=graph.output.size,
    )


def _steps(graph: IntegerGraph) -> tuple[list[Step], dict[int, int]]:
    """All steps, and the tensors that are others under a new shape."""
    steps: list[Step] = []
    same: dict[int, int] = {}
    if graph.input.dtype == np.int8:
        steps.append(operator_steps.flip(_outside(graph.input, -1), graph.input))
    for operator in graph.operators:
        if operator.name in operator_steps.SAME_BYTES:
            same[operator.output.index] = operator.inputs[0].index
            continue
        make = operator_steps.STEPS.get(operator.name)
        if make is None:
            known = ", ".join([*operator_steps.STEPS, *operator_steps.SAME_BYTES])
            raise InvalidInput(
                f"operator {operator.name} has no kernel in C without a library, only"
                f" {known};\nuse runtime=tflm"
            )
        _check_types(operator)
        steps.append(make(operator))
    if graph.output.dtype == np.int8:
        steps.append(operator_steps.flip(graph.output, _outside(graph.output, -2)))
    return steps, same


def _outside(tensor: Tensor, index: int) -> Tensor:
    """The unsigned bytes of the caller that become `tensor`, or come from it."""
    return dataclasses.replace(tensor, index=index, dtype=np.dtype(np.uint8))


def _check_types(operator: GraphOperator) -> None:
    """Checks that values are int8 with one scale; QUANTIZE takes uint8 as well."""
    allowed = (np.int8, np.uint8) if operator.name == "QUANTIZE" else (np.int8,)
    second = [t for t in operator.inputs[1:2] if operator.name in ("ADD", "MUL")]
    for tensor in (operator.inputs[0], operator.output, *second):
        if tensor is None or tensor.dtype not in allowed or len(tensor.scales) != 1:
            kind = "none" if tensor is None else tensor.dtype
            raise refuse(operator, f"a tensor of {kind} or of several scales")


def _lifetimes(
    graph: IntegerGraph, steps: list[Step], same: dict[int, int]
) -> tuple[dict[int, int | str], list[Buffer], list[int | None]]:
    """Which buffer each tensor and each step's scratch memory lies in."""
    uses = _last_uses(steps, same)
    places: dict[int, int | str] = {
        _root(same, graph.input.index): "pixels",
        -1: "pixels",
    }
    if graph.input.dtype == np.int8:
        del places[_root(same, graph.input.index)]
    ends = {-2, _root(same, graph.output.index)}
    if graph.output.dtype == np.int8:
        ends = {-2}
    buffers: list[Buffer] = []
    scratch: list[int | None] = []
    for number, step in enumerate(steps):
        root = _root(same, step.output.index)
        first = _root(same, step.inputs[0].index)
        place = places[first]
        if root in ends:
            places[root] = "probabilities"
        elif step.in_place and uses[first] == number and isinstance(place, int):
            old = buffers[place]
            buffers[place] = dataclasses.replace(old, last=uses.get(root, number))
            places[root] = place
        else:
            places[root] = len(buffers)
            buffers.append(Buffer(step.output.size, number, uses.get(root, number)))
        scratch.append(len(buffers) if step.scratch else None)
        if step.scratch:
            buffers.append(Buffer(step.scratch, number, number))
    return places | {t: places[_root(same, t)] for t in same}, buffers, scratch


def _last_uses(steps: list[Step], same: dict[int, int]) -> dict[int, int]:
    return {
        _root(same, tensor.index): number
        for number, step in enumerate(steps)
        for tensor in step.inputs
    }


def _root(same: dict[int, int], index: int) -> int:
    while index in same:
        index = same[index]
    return index


def _constant_bytes(step: Step) -> int:
    constants = [t.data for t in step.inputs if t.data is not None]
    return sum(array.nbytes for array in (*step.arrays.values(), *constants))
