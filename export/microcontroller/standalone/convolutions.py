"""Convolutions, depth-wise convolutions and dense layers as steps of the C program."""

import numpy as np

from export.microcontroller.standalone.fixed_point import (
    INT32,
    activation_range,
    quantize_multiplier,
)
from export.microcontroller.standalone.integer_graph import GraphOperator, Tensor
from export.microcontroller.standalone.steps import (
    RESCALE,
    Step,
    channel_sides,
    refuse,
)

_SAME = 0  # schema.Padding


def convolution(operator: GraphOperator) -> Step:
    """CONV_2D; kernels are [out, height, width, in].

    Raises:
        InvalidInput: it has groups, or weights that are not constants of int8.
    """
    source, weights = operator.inputs[:2]
    _check_weights(operator)
    if weights.shape[3] != source.shape[3]:
        raise refuse(operator, "a convolution in groups")
    kernel = weights.shape[1:3]
    geometry = _geometry(operator, kernel)
    direct = kernel == (1, 1)
    return Step(
        kernel="convolve",
        record="Convolution",
        sources=(*RESCALE, "convolution.c"),
        fields=geometry | _output_fields(operator),
        arrays=_arrays(operator, weights.data.reshape(weights.shape[0], -1)),
        inputs=(source,),
        output=operator.output,
        scratch=0 if direct else 2 * int(np.prod(weights.shape[1:])),
    )


def depthwise(operator: GraphOperator) -> Step:
    """DEPTHWISE_CONV_2D; kernels are [1, height, width, out]."""
    source, weights = operator.inputs[:2]
    _check_weights(operator)
    geometry = _geometry(operator, weights.shape[1:3])
    geometry["depth_multiplier"] = weights.shape[3] // source.shape[3]
    by_channel = weights.data.reshape(-1, weights.shape[3]).T
    arrays = _arrays(operator, by_channel)
    arrays["weights"] = weights.data.reshape(-1)
    return Step(
        kernel="convolve_depthwise",
        record="Depthwise",
        sources=(*RESCALE, "depthwise.c"),
        fields=geometry | _output_fields(operator),
        arrays=arrays,
        inputs=(source,),
        output=operator.output,
    )


def fully_connected(operator: GraphOperator) -> Step:
    """FULLY_CONNECTED; weights are [out, in].

    LiteRT 2.3's reference kernel rounds once if every channel has a scale of its own.
    """
    source, weights = operator.inputs[:2]
    _check_weights(operator)
    count = weights.shape[1]
    if source.size != count or getattr(operator.options, "weightsFormat", 0):
        raise refuse(operator, "several rows or shuffled weights")
    fields = _output_fields(operator)
    del fields["in_zero"]
    fields |= {"in_channels": count, "out_channels": weights.shape[0]}
    return Step(
        kernel="dense",
        record="Dense",
        sources=(*RESCALE, "dense.c"),
        fields=fields | {"rounds_once": int(len(weights.scales) > 1)},
        arrays=_arrays(operator, weights.data),
        inputs=(source,),
        output=operator.output,
    )


def _check_weights(operator: GraphOperator) -> None:
    weights = operator.inputs[1]
    if weights.data is None or weights.dtype != np.int8 or weights.zero_point:
        raise refuse(operator, "weights that are not symmetric int8 constants")


def _geometry(operator: GraphOperator, kernel: tuple[int, int]) -> dict[str, int]:
    """Sides, strides, dilations and the padding above and to the left."""
    options = operator.options
    ins, outs = channel_sides(operator.inputs[0]), channel_sides(operator.output)
    strides = options.strideH, options.strideW
    dilations = options.dilationHFactor, options.dilationWFactor
    pads = [
        padding_before(options.padding, *sides)
        for sides in zip(ins, outs, kernel, strides, dilations, strict=False)
    ]
    names = ("in_height", "in_width", "in_channels")
    out_names = ("out_height", "out_width", "out_channels")
    return {
        **dict(zip(names, ins, strict=True)),
        **dict(zip(out_names, outs, strict=True)),
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_y": strides[0],
        "stride_x": strides[1],
        "dilation_y": dilations[0],
        "dilation_x": dilations[1],
        "pad_top": pads[0],
        "pad_left": pads[1],
    }


def padding_before(
    padding: int, size: int, outputs: int, kernel: int, stride: int, dilation: int = 1
) -> int:
    """Rows of padding above the image, the smaller half."""
    if padding != _SAME:
        return 0
    reach = (kernel - 1) * dilation + 1
    return max((outputs - 1) * stride + reach - size, 0) // 2


def _output_fields(operator: GraphOperator) -> dict[str, int]:
    output = operator.output
    activation = operator.options.fusedActivationFunction
    try:
        low, high = activation_range(activation, output.scale, output.zero_point)
    except KeyError:
        raise refuse(operator, f"fused activation {activation}") from None
    return {
        "in_zero": operator.inputs[0].zero_point,
        "out_zero": output.zero_point,
        "low": low,
        "high": high,
    }


def _arrays(operator: GraphOperator, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Weights, biases, multipliers and shifts; `weights` is [out, taps]."""
    bias = operator.inputs[2] if len(operator.inputs) > 2 else None
    folded = _fold_zero_point(operator, weights, bias)
    factors = [quantize_multiplier(factor) for factor in _factors(operator, weights)]
    return {
        "weights": weights.reshape(-1),
        "bias": folded,
        "multiplier": np.array([m for m, _ in factors], np.int32),
        "shift": np.array([s for _, s in factors], np.int8),
    }


def _factors(operator: GraphOperator, weights: np.ndarray) -> list[float]:
    """The real factor from a sum of products to the output, for each channel.

    With one scale for all channels the kernels of a dense layer multiply the scales of
    input and weights in float32, with one for each channel in float64.
    """
    source, kernel, output = operator.inputs[0], operator.inputs[1], operator.output
    dense = operator.name == "FULLY_CONNECTED"
    if dense and len(kernel.scales) == 1:
        products = [float(source.scale * kernel.scale)]
    else:
        products = [float(source.scale) * float(s) for s in kernel.scales]
    if len(products) == 1:
        products *= len(weights)
    return [product / float(output.scale) for product in products]


def _fold_zero_point(
    operator: GraphOperator, weights: np.ndarray, bias: Tensor | None
) -> np.ndarray:
    """The bias minus the zero point times the sum of the weights, for each channel.

    Raises:
        InvalidInput: a sum of products may leave the range of int32.
    """
    wide = weights.astype(np.int64)
    own = np.zeros(len(weights), np.int64)
    if bias is not None:
        if bias.data is None or bias.dtype != np.int32:
            raise refuse(operator, "biases that are not int32 constants")
        own = bias.data.astype(np.int64)
    folded = own - operator.inputs[0].zero_point * wide.sum(axis=1)
    if (abs(folded) + 128 * abs(wide).sum(axis=1)).max() > INT32.max:
        raise refuse(operator, "sums that may leave the range of 32 bits")
    return folded.astype(np.int32)
