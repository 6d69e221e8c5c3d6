"""Converts uint8 images to the input of a model file."""

import dataclasses
import enum

import numpy as np

from trainer.errors import InvalidInput


class InputRange(enum.Enum):
    """The real numbers that pixels 0 and 255 stand for in a model file's input."""

    RAW = "0:255"
    UNIT = "0:1"
    SIGNED = "-1:1"


class InputScaling(enum.Enum):
    """How an 8-bit input takes pixels."""

    PIXELS = "pixels"  # as they are (int8: minus 128)
    FILE = "file"  # in the scale and zero point of the file


@dataclasses.dataclass(frozen=True)
class InputNormalization:
    """Normalisation (pixel - mean) / std; a list has one value per channel."""

    mean: float | list[float] = 0.0
    std: float | list[float] = 1.0

    def __str__(self) -> str:
        mean, std = (np.unique(value).tolist() for value in (self.mean, self.std))
        mean, std = (
            f"{values[0]:g}" if len(values) == 1 else str(values)
            for values in (mean, std)
        )
        return f"(pixel - {mean}) / {std}"

    def is_close(self, other: "InputNormalization") -> bool:
        """Whether both give the same numbers except for rounding."""
        pairs = ((self.mean, other.mean), (self.std, other.std))
        return all(np.allclose(one, two, rtol=1e-4, atol=1e-4) for one, two in pairs)

    @classmethod
    def from_range(cls, input_range: InputRange) -> "InputNormalization":
        """Converts an InputRange to mean and standard deviation."""
        low, high = (float(end) for end in input_range.value.split(":"))
        std = 255 / (high - low)
        return cls(mean=-low * std, std=std)

    def normalize(self, images: np.ndarray) -> np.ndarray:
        """Normalises `images` uint8 [N, H, W, C]: float32."""
        mean, std = np.float32(self.mean), np.float32(self.std)
        return (images.astype(np.float32) - mean) / std


def encode(
    images: np.ndarray,
    dtype: np.dtype,
    quantization: tuple[float, int],
    pixels: InputNormalization | None,
) -> np.ndarray:
    """Encodes `images` uint8 [N, H, W, C] as a tensor of `dtype`.

    An 8-bit tensor contains the pixel itself (int8: minus 128), as converted image
    classifiers expect, unless `pixels` is given. Any other integer tensor contains the
    real value in its scale and zero point; a float tensor contains the real value.
    """
    dtype, (scale, zero_point) = np.dtype(dtype), quantization
    if dtype.kind == "f":
        return (pixels or InputNormalization()).normalize(images).astype(dtype)
    limits = np.iinfo(dtype)
    if pixels is None and dtype.itemsize == 1:
        return (images.astype(np.int16) + limits.min).astype(dtype)
    real = (pixels or InputNormalization()).normalize(images)
    steps = np.rint(real / scale) + zero_point if scale else np.rint(real)
    return np.clip(steps, limits.min, limits.max).astype(dtype)


_RAMP = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=3)


def choose_8bit_reading(
    dtype: np.dtype,
    quantization: tuple[float, int],
    metadata: InputNormalization | None,
    scaling: InputScaling | None,
    who: str,
) -> tuple[InputNormalization | None, list[str]]:
    """Chooses the conversion of pixels to an 8-bit input; adds a note if it matters.

    None means the pixel itself. If the scale and zero point of the file are not those
    of the pixel itself, its `metadata`, or else the range that they cover, determines
    the real numbers.

    Raises:
        InvalidInput: metadata and scale contradict each other and `scaling` is None.
    """
    real = metadata or _covered(dtype, quantization)
    if real is None or not quantization[0] or np.size(real.mean) not in (1, 3):
        return None, []
    taken = encode(_RAMP, dtype, quantization, real).astype(int)
    plain = encode(_RAMP, dtype, quantization, None).astype(int)
    off = int(np.abs(taken - plain).max())
    if off <= 1:  # rounding
        return None, []
    named = f"scale {quantization[0]:.4g} and zero point {quantization[1]}"
    if len(np.unique(taken)) < 64 and scaling is None:
        raise InvalidInput(
            f"{who}: its metadata says that its input is {real}, but {named} of its"
            " 8-bit input cover little of that;\ninput_scaling=pixels gives it the"
            " pixel itself, `input_range` other numbers"
        )
    as_file = scaling is not InputScaling.PIXELS
    how = f"{real} in that scale" if as_file else "the pixel itself"
    other = (InputScaling.PIXELS if as_file else InputScaling.FILE).value
    line = (
        f"{who}: an input of {named} differs by up to {off} steps from the pixel"
        f" itself; it is given {how} (for the other, set input_scaling={other})"
    )
    return (real if as_file else None), [line]


def alternatives(
    dtype: np.dtype,
    quantization: tuple[float, int],
    current: InputNormalization | None,
    metadata: InputNormalization | None,
) -> dict[str, InputNormalization | None]:
    """Lists conversions other than the `current` one, by the option that selects them.

    `metadata` is the normalisation in the file's metadata, used for an 8-bit input.
    """
    if np.dtype(dtype).itemsize > 1:
        named = {
            f"input_range={input_range.value}": InputNormalization.from_range(
                input_range
            )
            for input_range in InputRange
        }
    else:
        named = {f"input_scaling={InputScaling.PIXELS.value}": None}
        if real := metadata or _covered(dtype, quantization):
            named[f"input_scaling={InputScaling.FILE.value}"] = real
    try:
        own = encode(_RAMP, dtype, quantization, current).astype(float)
        return {
            flag: pixels
            for flag, pixels in named.items()
            if np.abs(encode(_RAMP, dtype, quantization, pixels) - own).max()
            > 0.01 * np.ptp(own)
        }
    except ValueError:  # its metadata has another number of channels
        return {}


def _covered(
    dtype: np.dtype, quantization: tuple[float, int]
) -> InputNormalization | None:
    """Finds the InputRange that an 8-bit tensor nearly covers; None if none fits."""
    limits, (scale, zero_point) = np.iinfo(dtype), quantization
    ends = [scale * (end - zero_point) for end in (limits.min, limits.max)]

    def far(input_range: InputRange) -> float:
        low, high = (float(end) for end in input_range.value.split(":"))
        return (abs(ends[0] - low) + abs(ends[1] - high)) / (high - low)

    nearest = min(InputRange, key=far)
    return InputNormalization.from_range(nearest) if far(nearest) < 0.5 else None


def dequantize(raw: np.ndarray, quantization: tuple[float, int]) -> np.ndarray:
    """Dequantises a tensor to float64; one that is not quantised keeps its values."""
    scale, zero_point = quantization
    if scale == 0:  # not quantised
        return raw.astype(np.float64)
    return scale * (raw.astype(np.float64) - zero_point)
