"""Formats a program as C source: model.c, model.h, vectors.c and what builds them."""

import dataclasses
import importlib.resources
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from export.examples.c_text import (
    c_comment,
    c_numbers,
    c_rows,
    c_strings,
    c_thresholds,
)
from export.microcontroller.standalone.integer_graph import Tensor
from export.microcontroller.standalone.program import Program
from export.microcontroller.standalone.steps import Step

_PACKAGE = importlib.resources.files("export.microcontroller.standalone")
_BOARD = ("cortex_m/startup.c", "cortex_m/mps2.ld")
_CHANNELS = {1: "grey", 3: "red, green, blue"}


@dataclasses.dataclass(frozen=True)
class CDescription:
    """What the source says about the model beside its numbers.

    Attributes:
        comment: one line on the origin of the model.
        labels: names of the classes, in any script.
        images: test vectors, uint8 [N, H, W, C].
        answers: their probabilities in steps of 1/256, uint8 [N, K].
        abstain: the thresholds of the manifest.
    """

    comment: str
    labels: Sequence[str]
    images: np.ndarray
    answers: np.ndarray
    abstain: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


def format_project(program: Program, about: CDescription) -> dict[str, str]:
    """Formats every file of the folder but README.md: its text by its path."""
    comment = c_comment(about.comment)
    height, width, channels = program.image_shape
    return {
        "model.h": fill_template(
            "model.h",
            comment=comment,
            height=height,
            width=width,
            channels=channels,
            channel_order=_CHANNELS.get(channels, f"{channels} values"),
            classes=program.classes,
            constant_bytes=program.constant_bytes,
            arena_bytes=program.arena_bytes,
            vectors=len(about.images),
            thresholds=c_thresholds(about.abstain),
        ),
        "model.c": fill_template(
            "model.c",
            comment=comment,
            labels=c_strings(about.labels),
            kernels=_kernels(program.steps),
            constants="\n".join(_constants(program.steps)),
            calls="\n".join(_calls(program)),
        ),
        "vectors.c": fill_template(
            "vectors.c", pixels=c_rows(about.images), answers=c_rows(about.answers)
        ),
        "main.c": fill_template("main.c"),
        "Makefile": fill_template("Makefile"),
        **{name: read_template(name) for name in _BOARD},
    }


def _kernels(steps: Sequence[Step]) -> str:
    """The sources of the kernels that `steps` call, each once."""
    names = dict.fromkeys(name for step in steps for name in step.sources)
    return "\n".join(_read(f"kernels/{name}") for name in names)


def _constants(steps: Sequence[Step]) -> Iterator[str]:
    for number, step in enumerate(steps):
        for member, array in step.arrays.items():
            yield _array(_array_name(number, member), array)
        for place, tensor in enumerate(step.inputs):
            if tensor.data is not None:
                yield _array(_array_name(number, f"operand_{place}"), tensor.data)
        members = [f".{name} = {_array_name(number, name)}" for name in step.arrays]
        members += [f".{name} = {value}" for name, value in step.fields.items()]
        body = ",\n    ".join(members)
        yield f"static const {step.record} step_{number} = {{\n    {body}\n}};\n"


def _array_name(number: int, member: str) -> str:
    return f"step_{number}_{member}"


def _array(name: str, array: np.ndarray) -> str:
    return (
        f"static const {array.dtype.name}_t {name}[{array.size}] MODEL_ALIGNED = {{\n"
        f"{c_numbers(array)}\n}};"
    )


def _calls(program: Program) -> Iterator[str]:
    """The calls of model_predict, a line each."""

    def place(number: int, which: int, tensor: Tensor) -> str:
        if tensor.data is not None:
            return _array_name(number, f"operand_{which}")
        return _address(program.places[tensor.index])

    for number, step in enumerate(program.steps):
        words = [f"&step_{number}"]
        words += [place(number, i, tensor) for i, tensor in enumerate(step.inputs)]
        words.append(_address(program.places[step.output.index]))
        if step.record == "Convolution":
            scratch = program.scratch[number]
            words.append(_address(scratch) if scratch >= 0 else "NULL")
        yield f"    {step.kernel}({', '.join(words)});"


def _address(place: int | str) -> str:
    names = {"pixels": "image", "probabilities": "answer"}
    return names[place] if isinstance(place, str) else f"arena + {place}"


def fill_template(name: str, **values: object) -> str:
    """Fills a file of templates/ in."""
    return string.Template(read_template(name)).substitute(values)


def read_template(name: str) -> str:
    """Reads a file of templates/."""
    return _read(f"templates/{name}")


def _read(path: str) -> str:
    return _PACKAGE.joinpath(path).read_text("utf-8")
