"""Real factors as the integers that TensorFlow Lite's reference kernels compute with.

Jacob et al. 2018, arXiv:1712.05877, section 2.2: a factor is multiplier * 2^(shift-31)
with 2^30 <= multiplier < 2^31.
"""

import math

import numpy as np

INT32 = np.iinfo(np.int32)


def quantize_multiplier(factor: float) -> tuple[int, int]:
    """Computes (multiplier, shift) of a factor of at least 0."""
    if factor == 0:
        return 0, 0
    fraction, shift = math.frexp(factor)
    multiplier = _round(fraction * 2**31)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def _round(value: float) -> int:
    """Rounds halves away from zero, as C's round()."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def rescale(values: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """Multiplies int64 `values` by the factor, rounding twice, as fixed_point.c."""
    high = ((values << max(shift, 0)) * multiplier + 2**30) >> 31
    right = max(-shift, 0)
    half = (1 << right) >> 1
    return (high + half - ((high < 0) & (right > 0))) >> right


def activation_range(
    activation: int, scale: np.float32, zero_point: int
) -> tuple[int, int]:
    """The least and largest int8 value behind a fused activation.

    Args:
        activation: TFLite's number: 0 none, 1 ReLU, 2 from -1 to 1, 3 ReLU6.

    Raises:
        KeyError: the activation has no range, such as the hyperbolic tangent.
    """
    bounds = {0: (None, None), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
    low, high = bounds[activation]

    def quantized(bound: float) -> int:
        return zero_point + _round(float(np.float32(bound) / scale))

    return (
        -128 if low is None else max(-128, quantized(low)),
        127 if high is None else min(127, quantized(high)),
    )


def softmax_scaling(beta: float, scale: np.float32) -> tuple[int, int, int]:
    """The factor from differences to Q5.26, and the least difference that counts.

    Returns:
        (multiplier, shift, smallest).
    """
    real = min(float(beta) * float(scale) * 2.0**26, 2.0**31 - 1)
    multiplier, shift = quantize_multiplier(real)
    smallest = -math.floor(31 * 2.0**26 / 2.0**shift)
    return multiplier, shift, smallest
