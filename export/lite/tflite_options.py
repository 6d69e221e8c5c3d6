"""Options of a `.tflite` export."""

import dataclasses

from export.artifact.number_formats import NEEDS_CALIBRATION, Io, Scheme
from trainer.errors import InvalidConfig

CALIBRATION_IMAGES = 500


@dataclasses.dataclass(frozen=True)
class TFLiteOptions:
    """Number formats of a `.tflite` and the images that set its ranges.

    Attributes:
        calibration_images: number of training images; only int8 and int16x8 need any.

    Raises:
        InvalidConfig: `calibration_images` is out of range, or given but not used.
    """

    scheme: Scheme
    io: Io
    calibration_images: int = CALIBRATION_IMAGES

    def __post_init__(self) -> None:
        count = self.calibration_images
        if count < 1:
            raise InvalidConfig(f"calibration_images={count} must be at least 1")
        if self.scheme not in NEEDS_CALIBRATION and count != CALIBRATION_IMAGES:
            raise InvalidConfig(
                f"calibration_images={count} is not used with "
                f"scheme={self.scheme.value}, which needs none; leave it out"
            )
