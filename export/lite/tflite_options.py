"""Options of a `.tflite` export."""

import dataclasses
import enum

from export.artifact.number_formats import (
    NEEDS_CALIBRATION,
    Io,
    Scheme,
    file_name,
)
from trainer.errors import InvalidConfig

CALIBRATION_IMAGES = 500
PACKAGE = "litert-quantizer"  # optional
_MOST_KEPT = 1000


class QuantizerChoice(enum.Enum):
    """What computes integer weights and ranges."""

    TFLITE = "tflite"  # the converter of TensorFlow
    LITERT = "litert"  # litert-quantizer, from the float file


class KeptAs(enum.Enum):
    """Arithmetic of the layers of an int8 file that lose most."""

    FLOAT32 = "float32"
    INT16 = "int16"  # activations; fast on no common processor


@dataclasses.dataclass(frozen=True)
class TFLiteOptions:
    """Number formats of a `.tflite` and the images that set its ranges.

    Attributes:
        calibration_images: number of training images; only int8 and int16x8 need any.
        quantizer: what makes the integer file.
        kept_layers: number of layers of an int8 file that are computed as `kept_as`:
            those that add most to its error.

    Raises:
        InvalidConfig: a number is out of range, or options contradict each other.
    """

    scheme: Scheme
    io: Io
    calibration_images: int = CALIBRATION_IMAGES
    quantizer: QuantizerChoice = QuantizerChoice.TFLITE
    kept_layers: int = 0
    kept_as: KeptAs = KeptAs.FLOAT32

    def __post_init__(self) -> None:
        count = self.calibration_images
        if count < 1:
            raise InvalidConfig(f"calibration_images={count} must be at least 1")
        if self.scheme not in NEEDS_CALIBRATION and count != CALIBRATION_IMAGES:
            raise InvalidConfig(
                f"calibration_images={count} is not used with "
                f"scheme={self.scheme.value}, which needs none; leave it out"
            )
        self._check_quantizer()

    def _check_quantizer(self) -> None:
        litert = self.quantizer is QuantizerChoice.LITERT
        if litert and self.scheme not in NEEDS_CALIBRATION:
            known = " or ".join(member.value for member in NEEDS_CALIBRATION)
            raise InvalidConfig(
                f"quantizer=litert makes scheme={known}, not {self.scheme.value}"
            )
        count = self.kept_layers
        if not 0 <= count <= _MOST_KEPT:
            raise InvalidConfig(f"kept_layers={count} must be within 0 to {_MOST_KEPT}")
        if count and not (litert and self.scheme is Scheme.INT8):
            raise InvalidConfig(
                f"kept_layers={count} is for quantizer=litert and scheme=int8"
            )
        if self.kept_as is not KeptAs.FLOAT32 and not count:
            raise InvalidConfig(
                f"kept_as={self.kept_as.value} says nothing without `kept_layers`"
            )

    @property
    def file_name(self) -> str:
        """The name of the file, with what is not the default."""
        name = file_name(self.scheme, self.io)
        if self.quantizer is QuantizerChoice.TFLITE:
            return name
        kept = f"_{self.kept_layers}-{self.kept_as.value}" if self.kept_layers else ""
        return name.replace(".tflite", f"_{self.quantizer.value}{kept}.tflite")
