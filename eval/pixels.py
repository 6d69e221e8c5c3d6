"""How uint8 images become what a model file takes."""

import dataclasses
import enum

import numpy as np


class InputRange(enum.Enum):
    """The real numbers that pixels 0 and 255 stand for in a model file's input."""

    RAW = "0:255"
    UNIT = "0:1"
    SIGNED = "-1:1"


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The input is (pixel - mean) / std; a list has one value a channel."""

    mean: float | list[float] = 0.0
    std: float | list[float] = 1.0

    @classmethod
    def of(cls, span: InputRange) -> "Pixels":
        """What `span` means as mean and standard deviation."""
        low, high = (float(end) for end in span.value.split(":"))
        std = 255 / (high - low)
        return cls(mean=-low * std, std=std)

    def real(self, images: np.ndarray) -> np.ndarray:
        """`images` uint8 [N, H, W, C] as float32."""
        mean, std = np.float32(self.mean), np.float32(self.std)
        return (images.astype(np.float32) - mean) / std


def encode(
    images: np.ndarray,
    dtype: np.dtype,
    quantization: tuple[float, int],
    pixels: Pixels | None,
) -> np.ndarray:
    """`images` uint8 [N, H, W, C] as a tensor of `dtype`.

    An 8-bit tensor takes the pixel itself (int8: minus 128), as image classifiers are
    converted, unless `pixels` asks for something else. Any other integer tensor takes
    the real value in its own scale and zero point; floats take the real value.
    """
    dtype, (scale, zero_point) = np.dtype(dtype), quantization
    if dtype.kind == "f":
        return (pixels or Pixels()).real(images).astype(dtype)
    limits = np.iinfo(dtype)
    if pixels is None and dtype.itemsize == 1:
        return (images.astype(np.int16) + limits.min).astype(dtype)
    real = (pixels or Pixels()).real(images)
    steps = np.rint(real / scale) + zero_point if scale else np.rint(real)
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantize(raw: np.ndarray, quantization: tuple[float, int]) -> np.ndarray:
    """A tensor's values as float64; one that is not quantised passes through."""
    scale, zero_point = quantization
    if scale == 0:  # how TFLite marks it
        return raw.astype(np.float64)
    return scale * (raw.astype(np.float64) - zero_point)
