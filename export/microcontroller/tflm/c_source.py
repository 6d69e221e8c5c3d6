"""A model as C source: an aligned array, its labels and the numbers around it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from export.examples.c_text import c_strings, c_thresholds

_HEADER = """\
/* {comment} */
#ifndef MODEL_H_
#define MODEL_H_

#ifdef __cplusplus
extern "C" {{
#endif

#define MODEL_BYTES {size}
/* The least for the reference kernels, measured where pointers have 64 bits: somewhat
   more than 32 bits need. */
#define MODEL_ARENA_BYTES {arena_bytes}
{cmsis_nn}
#define MODEL_HEIGHT {height}
#define MODEL_WIDTH {width}
#define MODEL_CHANNELS {channels}
#define MODEL_CLASSES {classes}
/* {input_is} */
#define MODEL_INPUT_SCALE {input_scale!r}
#define MODEL_INPUT_ZERO_POINT ({input_zero_point})
/* probability = scale * (answer - zero point); scale 0: the answer itself */
#define MODEL_OUTPUT_SCALE {output_scale!r}
#define MODEL_OUTPUT_ZERO_POINT ({output_zero_point})

/* Least answer of the most likely class with which it is given, so that 90, 95 or 99 %
   of the answers that are given are right (chosen on validation rows; "abstain" in
   manifest.json has the guarantees). A threshold that does not exist is not defined. */
{thresholds}

extern const unsigned char model_data[MODEL_BYTES];
extern const char *const model_labels[MODEL_CLASSES];

#ifdef __cplusplus
}}
#endif

#endif
"""
_CMSIS_NN = """\
/* For CMSIS-NN's kernels, not measured but computed: the above and the scratch buffers
   that its formulas give. Shrink it by what arena_used_bytes() says on the device. */
#define MODEL_ARENA_BYTES_CMSIS_NN {bytes}"""
_UNKNOWN = "/* What CMSIS-NN's kernels need is not known: measure it on the device. */"
_SOURCE = """\
/* {comment} */
#include "model.h"

#include <stdalign.h>

const char *const model_labels[MODEL_CLASSES] = {{
{labels}
}};

alignas(16) const unsigned char model_data[MODEL_BYTES] = {{
{data}
}};
"""
_PER_LINE = 16


@dataclasses.dataclass(frozen=True)
class ModelConstants:
    """Numbers and names that a program needs besides the model's bytes.

    Attributes:
        comment: one line on the origin of the model.
        image_shape: (H, W, C).
        input_is: how the input is computed from pixels, in words.
        input, output: (scale, zero point); (0.0, 0) if not quantised.
        arena_bytes: memory for the reference kernels.
        labels: names of the classes.
        cmsis_nn_bytes: memory for CMSIS-NN's kernels; None if not known.
        abstain: the thresholds of the manifest.
    """

    comment: str
    image_shape: tuple[int, int, int]
    input_is: str
    input: tuple[float, int]
    output: tuple[float, int]
    arena_bytes: int
    labels: Sequence[str]
    cmsis_nn_bytes: int | None = None
    abstain: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


def format_header(content: bytes, constants: ModelConstants) -> str:
    """Formats model.h for the model `content`."""
    height, width, channels = constants.image_shape
    cmsis_nn_bytes = constants.cmsis_nn_bytes
    cmsis_nn = _UNKNOWN
    if cmsis_nn_bytes is not None:
        cmsis_nn = _CMSIS_NN.format(bytes=cmsis_nn_bytes)
    return _HEADER.format(
        comment=constants.comment,
        size=len(content),
        arena_bytes=constants.arena_bytes,
        cmsis_nn=cmsis_nn,
        height=height,
        width=width,
        channels=channels,
        classes=len(constants.labels),
        input_is=constants.input_is,
        input_scale=constants.input[0],
        input_zero_point=constants.input[1],
        output_scale=constants.output[0],
        output_zero_point=constants.output[1],
        thresholds=c_thresholds(constants.abstain),
    )


def format_source(content: bytes, constants: ModelConstants) -> str:
    """Formats model.c for the model `content`."""
    starts = range(0, len(content), _PER_LINE)
    lines = (content[start : start + _PER_LINE] for start in starts)
    return _SOURCE.format(
        comment=constants.comment,
        labels=c_strings(constants.labels),
        data=",\n".join("    " + ", ".join(map(str, line)) for line in lines),
    )
