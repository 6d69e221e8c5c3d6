"""Cases of every operator that the standalone C program has a kernel for."""

import numpy as np

from tests.support.operator_files import (
    FLOAT32,
    INT32,
    UINT8,
    Value,
    convolution,
    one,
    options,
    weights,
    write_file,
)

SAME, VALID = 0, 1
NONE, RELU, RELU_1, RELU6 = 0, 1, 2, 3
IMAGE = (1, 9, 7, 4)


def _sides(padding: int, kernel: tuple[int, int], strides: tuple[int, int]):
    if padding == SAME:
        return tuple(-(-IMAGE[i + 1] // strides[i]) for i in range(2))
    return tuple((IMAGE[i + 1] - kernel[i]) // strides[i] + 1 for i in range(2))


def conv(padding, kernel, strides, activation, *, outs=5, dilation=1) -> bytes:
    reach = tuple((k - 1) * dilation + 1 for k in kernel)
    sides = _sides(padding, reach, strides)
    own = options(
        "Conv2D",
        padding=padding,
        strideH=strides[0],
        strideW=strides[1],
        dilationHFactor=dilation,
        dilationWFactor=dilation,
        fusedActivationFunction=activation,
    )
    rng = np.random.default_rng(outs)
    others = convolution(rng, (outs, *kernel, IMAGE[3]), 0)
    return one("CONV_2D", IMAGE, (1, *sides, outs), own, *others, scales=(0.02, 0.4))


def depthwise(padding, kernel, strides, activation, *, multiplier=1) -> bytes:
    outs = IMAGE[3] * multiplier
    own = options(
        "DepthwiseConv2D",
        padding=padding,
        strideH=strides[0],
        strideW=strides[1],
        dilationHFactor=1,
        dilationWFactor=1,
        depthMultiplier=multiplier,
        fusedActivationFunction=activation,
    )
    others = convolution(np.random.default_rng(outs), (1, *kernel, outs), 3)
    sides = _sides(padding, kernel, strides)
    shape = (1, *sides, outs)
    return one("DEPTHWISE_CONV_2D", IMAGE, shape, own, *others, scales=(0.02, 0.2))


def dense(*, channels: bool, activation: int = NONE) -> bytes:
    rng, size = np.random.default_rng(4), int(np.prod(IMAGE))
    scales = rng.uniform(0.002, 0.02, 11) if channels else [0.0123]
    own = options("FullyConnected", fusedActivationFunction=activation)
    others = weights(rng, (11, size), scales, 11)
    return one("FULLY_CONNECTED", IMAGE, (1, 11), own, *others, scales=(0.02, 1.7))


def pool(name, padding, kernel, strides, activation) -> bytes:
    own = options(
        "Pool2D",
        padding=padding,
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        strideH=strides[0],
        strideW=strides[1],
        fusedActivationFunction=activation,
    )
    shape = (1, *_sides(padding, kernel, strides), IMAGE[3])
    return one(name, IMAGE, shape, own, scales=(0.03, 0.03), zeros=(-5, -5))


def reduction(name: str, scales: tuple[float, float], zeros: tuple[int, int]) -> bytes:
    axes = Value((2,), (), 0, np.array([1, 2]), INT32)
    own = options("Reducer", keepDims=False)
    return one(name, IMAGE, (1, IMAGE[3]), own, axes, scales=scales, zeros=zeros)


def pair(name: str, kind: str, shape: tuple[int, ...], activation: int) -> bytes:
    data = np.random.default_rng(6).integers(-128, 128, shape)
    other = Value(shape, (0.013,), 11, data)
    own = options(kind, fusedActivationFunction=activation)
    return one(name, IMAGE, IMAGE, own, other, scales=(0.02, 0.025))


def itself(name: str, kind: str) -> bytes:
    """The image with itself: both operands are computed."""
    values = [Value(IMAGE, (0.02,), 3), Value(IMAGE, (0.05,), -9)]
    return write_file(values, [(name, [0, 0], 1, options(kind))], 1)


def padded() -> bytes:
    sizes = Value((4, 2), (), 0, np.array([[0, 0], [1, 2], [0, 3], [2, 1]]), INT32)
    shape, same = (1, 12, 10, 7), (0.02, 0.02)
    return one("PAD", IMAGE, shape, options("Pad"), sizes, scales=same, zeros=(3, 3))


def function(name: str, scales=(0.05, 0.04), zeros=(-20, 9), kind="") -> bytes:
    own = options(kind) if kind else None
    return one(name, IMAGE, IMAGE, own, scales=scales, zeros=zeros)


def probabilities(scale: float, classes: int = 4) -> bytes:
    """Softmax of the first pixels behind a reshape."""
    image = (1, 1, 1, classes)
    values = [
        Value(image, (scale,), 5),
        Value((1, classes), (scale,), 5),
        Value((1, classes), (1 / 256,), -128),
        Value((2,), (), 0, np.array([1, classes]), INT32),
    ]
    operators = [
        ("RESHAPE", [0, 3], 1, options("Reshape", newShape=[1, classes])),
        ("SOFTMAX", [1], 2, options("Softmax", beta=1.0)),
    ]
    return write_file(values, operators, 2)


def unsigned_ends() -> bytes:
    """From uint8 to int8 of another scale, and back."""
    values = [
        Value(IMAGE, (1 / 128,), 128, None, UINT8),
        Value(IMAGE, (0.011,), -13),
        Value(IMAGE, (1 / 256,), 0, None, UINT8),
    ]
    quantize = options("Quantize")
    operators = [("QUANTIZE", [0], 1, quantize), ("QUANTIZE", [1], 2, quantize)]
    return write_file(values, operators, 2)


def float_end() -> bytes:
    """A file that answers with floats, which cannot be written as C."""
    values = [Value(IMAGE, (0.02,), 3), Value(IMAGE, (), 0, None, FLOAT32)]
    return write_file(values, [("DEQUANTIZE", [0], 1, options("Dequantize"))], 1)


def without_kernel() -> bytes:
    """A file with an operator that has no kernel in C."""
    return one("ABS", IMAGE, IMAGE, options("Abs"))


CASES = {
    "conv same": lambda: conv(SAME, (3, 3), (1, 1), RELU),
    "conv valid": lambda: conv(VALID, (3, 2), (2, 1), RELU6, outs=6),
    "conv dilated": lambda: conv(SAME, (3, 3), (1, 1), NONE, dilation=2),
    "conv point": lambda: conv(SAME, (1, 1), (2, 2), RELU_1, outs=3),
    "conv wide": lambda: conv(SAME, (5, 4), (2, 3), NONE, outs=1),
    "depthwise same": lambda: depthwise(SAME, (3, 3), (1, 1), RELU6),
    "depthwise stride": lambda: depthwise(SAME, (3, 2), (2, 2), NONE),
    "depthwise double": lambda: depthwise(VALID, (2, 3), (1, 2), NONE, multiplier=9),
    "dense": lambda: dense(channels=True),
    "dense, one scale": lambda: dense(channels=False, activation=RELU),
    "max pool": lambda: pool("MAX_POOL_2D", SAME, (3, 2), (2, 2), NONE),
    "max pool relu": lambda: pool("MAX_POOL_2D", VALID, (2, 2), (2, 1), RELU6),
    "average pool": lambda: pool("AVERAGE_POOL_2D", SAME, (3, 3), (2, 2), NONE),
    "average pool relu": lambda: pool("AVERAGE_POOL_2D", VALID, (9, 7), (1, 1), RELU),
    "mean": lambda: reduction("MEAN", (0.02, 0.008), (3, -30)),
    "mean, same scale": lambda: reduction("MEAN", (0.02, 0.02), (3, 3)),
    "largest": lambda: reduction("REDUCE_MAX", (0.02, 0.02), (3, 3)),
    "add": lambda: pair("ADD", "Add", IMAGE, NONE),
    "add channels": lambda: pair("ADD", "Add", (4,), RELU),
    "add one": lambda: pair("ADD", "Add", (1, 1, 1, 1), RELU6),
    "add itself": lambda: itself("ADD", "Add"),
    "multiply": lambda: pair("MUL", "Mul", IMAGE, NONE),
    "multiply channels": lambda: pair("MUL", "Mul", (1, 1, 1, 4), RELU6),
    "square": lambda: itself("MUL", "Mul"),
    "pad": padded,
    "relu": lambda: function("RELU"),
    "relu6": lambda: function("RELU6"),
    "logistic": lambda: function("LOGISTIC", (0.05, 1 / 256), (-20, -128)),
    "quantize": lambda: function("QUANTIZE", kind="Quantize"),
    "softmax": lambda: probabilities(0.05),
    "softmax steep": lambda: probabilities(0.3, classes=13),
    "softmax flat": lambda: probabilities(0.01, classes=40),
    "unsigned": unsigned_ends,
}
