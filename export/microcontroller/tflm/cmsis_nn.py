"""Estimates the arena that CMSIS-NN's kernels need beyond the reference kernels.

It uses the formulas of CMSIS-NN's public functions instead of a measurement, as they
exist on Arm only. https://github.com/ARM-software/CMSIS-NN,
Source/ConvolutionFunctions: arm_convolve_get_buffer_sizes_s8.c (2.3.0, 2026) and
arm_convolve_get_buffer_sizes_s16.c (1.0.0, 2023);
PoolingFunctions/arm_avgpool_get_buffer_sizes_s8.c. TensorFlow Lite Micro calls them in
`Prepare` of kernels/cmsis_nn/conv.cc and pooling.cc.
"""

from collections.abc import Iterable

from eval.formats.flatbuffer import FlatbufferInfo, Layer

_ALIGNMENT = 16
# Bytes of records for each operator with a scratch buffer, beyond the reference kernel:
# the arena of resnet8 grew by 656 bytes in total.
_RECORDS = 64


def extra_bytes(graph: FlatbufferInfo, width: int) -> dict[str, int | None]:
    """Computes upper estimates for DSP and for MVE (Helium) instructions.

    Args:
        width: bytes of an activation: 1 for int8, 2 for int16x8, 4 for float32.

    Returns:
        Bytes by "dsp" and "mve"; None if the formula of a layer is not known here.
    """
    layers = list(graph.layers())
    if width == 4:  # CMSIS-NN's float kernels are not in TensorFlow Lite Micro
        return {"dsp": 0, "mve": 0}
    return {kind: _largest(layers, width, kind) for kind in ("dsp", "mve")}


def _largest(layers: Iterable[Layer], width: int, kind: str) -> int | None:
    """Adds the largest scratch buffer, used one at a time, and all records."""
    needs = [scratch_bytes(layer, width, kind) for layer in layers]
    if None in needs:
        return None
    used = [-(-need // _ALIGNMENT) * _ALIGNMENT for need in needs if need]
    return max(used, default=0) + _RECORDS * len(used)


def scratch_bytes(layer: Layer, width: int, kind: str) -> int | None:
    """Computes the scratch buffer of one layer; None if its formula is not known."""
    if layer.name == "CONV_2D":
        _, height, length, channels = layer.kernel
        return _convolution(height * length * channels, height * length, width, kind)
    if layer.name == "AVERAGE_POOL_2D":
        return 4 * layer.outputs[-1] if kind == "dsp" else 0
    return None if layer.name == "DEPTHWISE_CONV_2D" else 0


def _convolution(column: int, taps: int, width: int, kind: str) -> int:
    """Computes the scratch buffer of a convolution.

    One output needs `column` values, at `taps` positions. A kernel with one position
    needs a buffer only in the DSP code of some compilers, where it counts like any
    other kernel.
    """
    if width == 2:  # the fast kernel is for fewer than 512 values
        return 2 * column * 2 if kind == "dsp" and column < 512 else 0
    if kind == "dsp":
        return 2 * (-(-column // 4) * 4) * 2
    return 0 if taps == 1 else 4 * (-(-column // 16) * 16)
