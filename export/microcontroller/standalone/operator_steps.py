"""Pooling, sums, padding, softmax and functions of one byte as steps in C."""

import math
from collections.abc import Callable

import numpy as np

from export.microcontroller.standalone import convolutions
from export.microcontroller.standalone.fixed_point import (
    activation_range,
    quantize_multiplier,
    rescale,
    softmax_scaling,
)
from export.microcontroller.standalone.integer_graph import GraphOperator, Tensor
from export.microcontroller.standalone.steps import (
    CLAMP,
    FIXED_POINT,
    RESCALE,
    Step,
    channel_sides,
    refuse,
)


def pooling(operator: GraphOperator) -> Step:
    """MAX_POOL_2D and AVERAGE_POOL_2D."""
    options, source, output = operator.options, operator.inputs[0], operator.output
    ins, outs = channel_sides(source), channel_sides(output)
    before = [
        convolutions.padding_before(options.padding, *sides)
        for sides in (
            (ins[0], outs[0], options.filterHeight, options.strideH),
            (ins[1], outs[1], options.filterWidth, options.strideW),
        )
    ]
    fields = {
        "window_height": options.filterHeight,
        "window_width": options.filterWidth,
        "stride_y": options.strideH,
        "stride_x": options.strideW,
        "pad_top": before[0],
        "pad_left": before[1],
    }
    limits = _limits(operator, options.fusedActivationFunction)
    largest = operator.name == "MAX_POOL_2D"
    kernel = "max_pool" if largest else "average_pool"
    return _pool(operator, kernel, fields | limits)


def _pool(operator: GraphOperator, kernel: str, fields: dict[str, int]) -> Step:
    ins, outs = channel_sides(operator.inputs[0]), channel_sides(operator.output)
    sides = {"in_height": ins[0], "in_width": ins[1], "channels": ins[2]}
    if "out_height" not in fields:
        sides |= {"out_height": outs[0], "out_width": outs[1]}
    return Step(
        kernel=kernel,
        record="Pooling",
        sources=(*CLAMP, "window.c", f"{kernel}.c"),
        fields=sides | fields,
        inputs=operator.inputs[:1],
        output=operator.output,
    )


def reduce_max(operator: GraphOperator) -> Step:
    """REDUCE_MAX over all pixels: one window over the whole image."""
    height, width, _ = _check_over_pixels(operator)
    fields = {"window_height": height, "window_width": width, "low": -128, "high": 127}
    ones = dict.fromkeys(("out_height", "out_width", "stride_y", "stride_x"), 1)
    return _pool(operator, "max_pool", {**fields, **ones, "pad_top": 0, "pad_left": 0})


def mean(operator: GraphOperator) -> Step:
    """MEAN over all pixels."""
    source, output = operator.inputs[0], operator.output
    height, width, channels = _check_over_pixels(operator)
    pixels = height * width
    multiplier, shift = quantize_multiplier(float(source.scale) / float(output.scale))
    bits = min(int(math.log2(pixels)), 32, 31 + shift)
    return Step(
        kernel="mean",
        record="Mean",
        sources=(*RESCALE, "mean.c"),
        fields={
            "pixels": pixels,
            "channels": channels,
            "in_zero": source.zero_point,
            "out_zero": output.zero_point,
            "multiplier": (multiplier << bits) // pixels,
            "shift": shift - bits,
        },
        inputs=(source,),
        output=output,
    )


def _check_over_pixels(operator: GraphOperator) -> tuple[int, int, int]:
    """Checks that rows and columns are reduced; returns the sides of the image."""
    source, axes = operator.inputs[:2]
    found = set() if axes.data is None else {int(a) % 4 for a in axes.data.flat}
    if len(source.shape) != 4 or found != {1, 2}:
        raise refuse(operator, "axes other than rows and columns")
    return channel_sides(source)


def addition(operator: GraphOperator) -> Step:
    """ADD of two tensors, of which the smaller one repeats."""
    large, small, fields = _operands(operator)
    twice = 2 * max(float(large.scale), float(small.scale))
    for name, operand in (("a", large), ("b", small)):
        multiplier, shift = quantize_multiplier(float(operand.scale) / twice)
        fields |= {f"multiplier_{name}": multiplier, f"shift_{name}": shift}
    multiplier, shift = quantize_multiplier(
        twice / (2**20 * float(operator.output.scale))
    )
    fields |= {"out_multiplier": multiplier, "out_shift": shift}
    return Step(
        kernel="add",
        record="Addition",
        sources=(*RESCALE, "add.c"),
        fields=fields,
        inputs=(large, small),
        output=operator.output,
        in_place=True,
    )


def product(operator: GraphOperator) -> Step:
    """MUL of two tensors, of which the smaller one repeats; factors are float32."""
    large, small, fields = _operands(operator)
    first, second = operator.inputs
    factor = np.float32(first.scale * second.scale) / operator.output.scale
    multiplier, shift = quantize_multiplier(float(factor))
    return Step(
        kernel="multiply",
        record="Product",
        sources=(*RESCALE, "multiply.c"),
        fields=fields | {"multiplier": multiplier, "shift": shift},
        inputs=(large, small),
        output=operator.output,
        in_place=True,
    )


def _operands(operator: GraphOperator) -> tuple[Tensor, Tensor, dict[str, int]]:
    """The larger and the smaller operand, and what both kernels need."""
    large, small = sorted(
        operator.inputs, key=lambda tensor: (-tensor.size, tensor.data is not None)
    )
    trailing = _without_leading_ones(small.shape)
    ends = large.shape[len(large.shape) - len(trailing) :] if trailing else ()
    if trailing != ends or large.data is not None:
        raise refuse(operator, f"shapes {list(large.shape)} and {list(small.shape)}")
    limits = _limits(operator, operator.options.fusedActivationFunction)
    return (
        large,
        small,
        {
            "count": large.size,
            "period": small.size,
            "zero_a": large.zero_point,
            "zero_b": small.zero_point,
            "out_zero": operator.output.zero_point,
            **limits,
        },
    )


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def padding(operator: GraphOperator) -> Step:
    """PAD of rows, columns and channels with the zero point."""
    source, sizes = operator.inputs[:2]
    if sizes.data is None or len(source.shape) != 4 or sizes.data[0].any():
        raise refuse(operator, "padding that is not of rows, columns and channels")
    ins, outs = channel_sides(source), channel_sides(operator.output)
    (top, _), (left, _), (front, _) = sizes.data[1:].tolist()
    names = ("in_height", "in_width", "in_channels")
    out_names = ("out_height", "out_width", "out_channels")
    return Step(
        kernel="pad",
        record="Padding",
        sources=("pad.c",),
        fields={
            **dict(zip(names, ins, strict=True)),
            **dict(zip(out_names, outs, strict=True)),
            "top": top,
            "left": left,
            "front": front,
            "value": operator.output.zero_point,
        },
        inputs=(source,),
        output=operator.output,
    )


def softmax(operator: GraphOperator) -> Step:
    """SOFTMAX of one row to probabilities in steps of 1/256."""
    source, output = operator.inputs[0], operator.output
    probabilities = (float(output.scale), output.zero_point) == (1 / 256, -128)
    if source.size != source.shape[-1] or not probabilities:
        raise refuse(operator, "several rows or an output not in steps of 1/256")
    multiplier, shift, smallest = softmax_scaling(operator.options.beta, source.scale)
    fields = {"multiplier": multiplier, "shift": shift, "smallest": smallest}
    return Step(
        kernel="softmax",
        record="Softmax",
        sources=(*FIXED_POINT, "softmax.c"),
        fields={"count": source.size} | fields,
        inputs=(source,),
        output=output,
    )


def requantization(operator: GraphOperator) -> Step:
    """QUANTIZE from one 8-bit scale to another, signed or not."""
    return byte_function(operator, _rescaled(operator, None))


def rectifier(operator: GraphOperator) -> Step:
    """RELU and RELU6 as operators of their own."""
    activation = {"RELU": 1, "RELU6": 3}[operator.name]
    return byte_function(operator, _rescaled(operator, activation))


def logistic(operator: GraphOperator) -> Step:
    """LOGISTIC: a table of float32 values, as LiteRT prepares it itself."""
    source, output = operator.inputs[0], operator.output
    steps = np.arange(-128, 128) - source.zero_point
    real = source.scale * steps.astype(np.float32)
    values = np.float32(1) / (np.float32(1) + np.exp(-real))
    scaled = values * (np.float32(1) / output.scale)
    rounded = np.floor(scaled + np.float32(0.5)).astype(np.int64)
    return byte_function(operator, np.clip(rounded + output.zero_point, -128, 127))


def _rescaled(operator: GraphOperator, activation: int | None) -> np.ndarray:
    """The output for each value of an input byte, from its smallest value on."""
    source, output = operator.inputs[0], operator.output
    limits = np.iinfo(source.dtype), np.iinfo(output.dtype)
    values = np.arange(limits[0].min, limits[0].max + 1) - source.zero_point
    multiplier, shift = quantize_multiplier(float(source.scale) / float(output.scale))
    result = rescale(values, multiplier, shift) + output.zero_point
    low, high = limits[1].min, limits[1].max
    if activation is not None:
        low, high = activation_range(activation, output.scale, output.zero_point)
    return np.clip(result, low, high)


def byte_function(operator: GraphOperator, values: np.ndarray) -> Step:
    """A step that replaces each byte by one of 256 values.

    Args:
        values: for each value of the input's type, from the smallest on.
    """
    source, output = operator.inputs[0], operator.output
    if source.size != output.size:
        raise refuse(operator, "a change of shape")
    table = np.empty(256, np.int8)
    keys = np.arange(256, dtype=np.int64) + np.iinfo(source.dtype).min
    table[keys.astype(np.uint8)] = values.astype(np.uint8).view(np.int8)
    if np.array_equal(table.view(np.uint8), np.arange(256) ^ 128):
        return flip(source, output)
    return Step(
        kernel="look_up",
        record="Table",
        sources=("look_up.c",),
        fields={"count": source.size},
        arrays={"table": table},
        inputs=(source,),
        output=output,
        in_place=True,
    )


def flip(source: Tensor, output: Tensor) -> Step:
    """A step from signed to unsigned bytes or back."""
    return Step(
        kernel="flip_signs",
        record="Bytes",
        sources=("flip_signs.c",),
        fields={"count": source.size},
        inputs=(source,),
        output=output,
        in_place=True,
    )


def _limits(operator: GraphOperator, activation: int) -> dict[str, int]:
    output = operator.output
    try:
        low, high = activation_range(activation, output.scale, output.zero_point)
    except KeyError:
        raise refuse(operator, f"fused activation {activation}") from None
    return {"low": low, "high": high}


STEPS: dict[str, Callable[[GraphOperator], Step]] = {
    "CONV_2D": convolutions.convolution,
    "DEPTHWISE_CONV_2D": convolutions.depthwise,
    "FULLY_CONNECTED": convolutions.fully_connected,
    "MAX_POOL_2D": pooling,
    "AVERAGE_POOL_2D": pooling,
    "REDUCE_MAX": reduce_max,
    "MEAN": mean,
    "ADD": addition,
    "MUL": product,
    "PAD": padding,
    "SOFTMAX": softmax,
    "QUANTIZE": requantization,
    "RELU": rectifier,
    "RELU6": rectifier,
    "LOGISTIC": logistic,
}
# Operators that move no byte: their output has the place of their input.
SAME_BYTES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
