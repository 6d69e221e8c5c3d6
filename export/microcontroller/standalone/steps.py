"""A step of the C program: a call of a kernel with a record of numbers and arrays."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from export.microcontroller.standalone.integer_graph import GraphOperator, Tensor
from trainer.errors import InvalidInput

# Sources that kernels build on.
CLAMP = ("clamp.c",)
FIXED_POINT = ("clamp.c", "multiply_high.c")
RESCALE = (*FIXED_POINT, "rescale.c")


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """A call of a kernel, in the order of the program.

    Attributes:
        kernel: the C function.
        record: the C type of its first argument.
        sources: files in kernels/ that it needs, those that it builds on first.
        fields: numbers of the record by the names of its members.
        arrays: arrays that members of the record point to.
        inputs: the tensors that it reads; constants are emitted as arrays.
        output: the tensor that it writes.
        scratch: bytes that it needs while it runs.
        in_place: whether the output may have the place of the first input.
    """

    kernel: str
    record: str
    sources: tuple[str, ...]
    fields: Mapping[str, int]
    inputs: tuple[Tensor, ...]
    output: Tensor
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    scratch: int = 0
    in_place: bool = False


def refuse(operator: GraphOperator, why: str) -> InvalidInput:
    """The error for an operator that cannot be written as C."""
    return InvalidInput(
        f"operator {operator.name}: {why}, which C without a library does not have;"
        "\nuse runtime=tflm"
    )


def channel_sides(tensor: Tensor) -> tuple[int, int, int]:
    """Height, width and channels; what has less than four sides is one row."""
    sides = (1, 1, 1, *tensor.shape)[-3:]
    return sides[0], sides[1], sides[2]
