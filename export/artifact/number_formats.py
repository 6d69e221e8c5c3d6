"""Number formats of a `.tflite`: arithmetic (Scheme), input and output (Io)."""

import enum

from trainer.errors import InvalidConfig


class Scheme(enum.Enum):
    """Types of weights, activations and arithmetic."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"  # float16 weights, float32 arithmetic
    DYNAMIC = "dynamic"  # int8 weights, float activations
    INT8 = "int8"  # integer only; needs calibration images
    INT16X8 = "int16x8"  # int16 activations, int8 weights; needs calibration images


class Io(enum.Enum):
    """Types of pixels and probabilities.

    uint8 inputs are the pixels, int8 inputs the pixels minus 128. float32 and int16
    inputs are (pixel - 128) / 128, for int16 in the scale of the file.
    """

    UINT8 = "uint8"
    INT8 = "int8"
    INT16 = "int16"
    FLOAT32 = "float32"


# The first is the default. Float networks convert uint8 inputs and return float32.
IO_TYPES = {
    Scheme.FLOAT32: (Io.UINT8, Io.FLOAT32),
    Scheme.FLOAT16: (Io.UINT8, Io.FLOAT32),
    Scheme.DYNAMIC: (Io.UINT8, Io.FLOAT32),
    Scheme.INT8: (Io.UINT8, Io.INT8, Io.FLOAT32),
    Scheme.INT16X8: (Io.INT16, Io.FLOAT32),
}
# Schemes whose ranges are computed from training images.
NEEDS_CALIBRATION = (Scheme.INT8, Scheme.INT16X8)

# Schemes of a run that was trained with `qat`: its ranges are those of int8.
ROUNDED = (Scheme.FLOAT32, Scheme.INT8)


def resolve_formats(
    quantize: bool, scheme: Scheme | None, io: Io | None
) -> tuple[Scheme, Io]:
    """Determines the number formats from the three options.

    Raises:
        InvalidConfig: they contradict each other.
    """
    if quantize and scheme not in (None, Scheme.INT8):
        raise InvalidConfig(
            f"quantize=True means scheme=int8, got scheme={scheme.value}; leave one out"
        )
    chosen = scheme or (Scheme.INT8 if quantize else Scheme.FLOAT32)
    if io is not None and io not in IO_TYPES[chosen]:
        raise InvalidConfig(
            f"io={io.value} is not available with scheme={chosen.value}, only "
            f"{' or '.join(member.value for member in IO_TYPES[chosen])}"
        )
    return chosen, io or IO_TYPES[chosen][0]


def file_name(scheme: Scheme, io: Io) -> str:
    """Names the file `model_<scheme>.tflite`, with `io` if it is not the default."""
    suffix = "" if io is IO_TYPES[scheme][0] else f"_io-{io.value}"
    return f"model_{scheme.value}{suffix}.tflite"
