"""What a firmware project with TensorFlow Lite Micro needs beside the model.

An operator resolver with exactly the model's operators, test vectors, a sketch that
checks them and a README.
"""

import importlib.resources
import string
from collections.abc import Iterable

import numpy as np

from export.artifact.number_formats import Scheme
from export.examples.c_text import c_rows

_TEMPLATES = importlib.resources.files("export.microcontroller.tflm") / "templates"
# Type of an answer, member of TfLiteTensor::data, value of a pixel, and when two
# answers are equal: floats are those of other compilers and libraries of mathematics.
_TYPES = {
    Scheme.INT8: ("int8_t", "int8", "pixels[i] - 128", "difference == 0"),
    Scheme.INT16X8: (
        "int16_t",
        "i16",
        "(2 * 32767 * (pixels[i] - 128) + (pixels[i] < 128 ? -128 : 128)) / 256",
        "difference >= -1 && difference <= 1",
    ),
    Scheme.FLOAT32: (
        "float",
        "f",
        "(pixels[i] - 128) / 128.0f",
        "difference > -1e-4f && difference < 1e-4f",
    ),
}
_OWN_WORDS = {"PADV2": "PadV2"}
_VECTORS_H = """\
/* Test vectors: pixels and the raw answers of the reference kernels. */
#ifndef VECTORS_H_
#define VECTORS_H_

#include <stdint.h>

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MODEL_VECTORS $count
typedef $type VectorAnswer;

extern const uint8_t
    vector_pixels[MODEL_VECTORS][MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS];
extern const VectorAnswer vector_answers[MODEL_VECTORS][MODEL_CLASSES];

#ifdef __cplusplus
}
#endif

#endif
"""
_VECTORS_C = """\
#include "vectors.h"

const uint8_t
    vector_pixels[MODEL_VECTORS][MODEL_HEIGHT * MODEL_WIDTH * MODEL_CHANNELS] = {
$pixels
};

const VectorAnswer vector_answers[MODEL_VECTORS][MODEL_CLASSES] = {
$answers
};
"""


def format_resolver(operators: Iterable[str]) -> str:
    """Formats resolver.h for TFLite's names of operators, each once."""
    names = list(operators)
    lines = "\n".join(
        f"  if (resolver.Add{resolver_name(name)}() != kTfLiteOk) return kTfLiteError;"
        for name in names
    )
    return _fill("resolver.h", count=len(names), calls=lines)


def resolver_name(operator: str) -> str:
    """The name in MicroMutableOpResolver: CONV_2D is added by AddConv2D."""
    words = operator.split("_")
    return "".join(_OWN_WORDS.get(word, _title(word)) for word in words)


def _title(word: str) -> str:
    return word if word[0].isdigit() else word.capitalize()


def format_sketch(scheme: Scheme, *, cmsis_nn: bool) -> str:
    """Formats sketch.cc; `cmsis_nn`: whether the arena for its kernels is known."""
    kind, member, value, is_equal = _TYPES[scheme]
    return _fill(
        "sketch.cc",
        arena_suffix="_CMSIS_NN" if cmsis_nn else "",
        fill=f"input->data.{member}[i] = static_cast<{kind}>({value});",
        member=member,
        is_equal=is_equal,
    )


def format_vectors(
    scheme: Scheme, images: np.ndarray, answers: np.ndarray
) -> dict[str, str]:
    """Formats vectors.h and vectors.c.

    Args:
        images: uint8 [N, H, W, C].
        answers: raw outputs [N, K], integers where the scheme has them.
    """
    header = string.Template(_VECTORS_H).substitute(
        count=len(images), type=_TYPES[scheme][0]
    )
    source = string.Template(_VECTORS_C).substitute(
        pixels=c_rows(images), answers=c_rows(answers)
    )
    return {"vectors.h": header, "vectors.c": source}


def format_readme(
    *,
    model_bytes: int,
    operators: int,
    vectors: int,
    arena_bytes: int,
    cmsis_nn_bytes: int | None,
) -> str:
    """Formats README.md."""
    cmsis_nn = ""
    if cmsis_nn_bytes is not None:
        cmsis_nn = f", {cmsis_nn_bytes:,} with CMSIS-NN's (computed)"
    return _fill(
        "README.md",
        model_bytes=f"{model_bytes:,}",
        count=operators,
        vectors=vectors,
        arena_bytes=f"{arena_bytes:,}",
        cmsis_nn=cmsis_nn,
    )


def _fill(name: str, **values: object) -> str:
    return string.Template((_TEMPLATES / name).read_text()).substitute(values)
