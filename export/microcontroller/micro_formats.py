"""What C source is written for, in which number formats, with which test vectors."""

import dataclasses
import enum
import pathlib

import numpy as np

from export.artifact.number_formats import Io, Scheme
from trainer.data import sampler
from trainer.errors import InvalidConfig, InvalidInput, require_package

PACKAGE = "tflite-micro"  # optional
# The type of input and output: these files cannot CAST uint8.
MICRO_IO = {
    Scheme.INT8: Io.INT8,
    Scheme.INT16X8: Io.INT16,
    Scheme.FLOAT32: Io.FLOAT32,
}
ACTIVATION_BYTES = {Scheme.INT8: 1, Scheme.INT16X8: 2, Scheme.FLOAT32: 4}
FOLDER = "micro"  # in the folder of exports
MOST_VECTORS = 1000


class Runtime(enum.Enum):
    """What runs the model on the microcontroller."""

    TFLM = "tflm"  # TensorFlow Lite Micro
    STANDALONE = "standalone"  # no library: plain C99


@dataclasses.dataclass(frozen=True)
class MicroOptions:
    """What is written.

    Attributes:
        runtime: what runs the model.
        scheme: of weights and arithmetic.
        vectors: number of test images in vectors.c.
        file: an int8 `.tflite` of the run that standalone C is made from; None: the
            exported one, or a new one.

    Raises:
        InvalidConfig: a value is out of range, or they contradict each other.
        InvalidInput: the scheme has no kernels.
    """

    runtime: Runtime = Runtime.TFLM
    scheme: Scheme = Scheme.INT8
    vectors: int = 10
    file: pathlib.Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.vectors <= MOST_VECTORS:
            raise InvalidConfig(
                f"vectors={self.vectors} must be within 1 to {MOST_VECTORS}"
            )
        check_scheme(self.scheme)
        standalone = self.runtime is Runtime.STANDALONE
        if standalone and self.scheme is not Scheme.INT8:
            raise InvalidConfig(
                f"runtime=standalone computes in int8, not in {self.scheme.value}"
            )
        if self.file is not None and not standalone:
            raise InvalidConfig("file=PATH is for runtime=standalone alone")

    @property
    def folder(self) -> str:
        """The folder in `micro/`: the runtime, with a scheme that is not int8."""
        suffix = "" if self.scheme is Scheme.INT8 else f"_{self.scheme.value}"
        return f"{self.runtime.value}{suffix}"

    def vector_rows(self, images: int) -> np.ndarray:
        """Chooses the rows of the test vectors among `images`, evenly spread."""
        return sampler.spread_rows(images, self.vectors)


def check_scheme(scheme: Scheme) -> None:
    """Checks that there are kernels for `scheme`.

    Raises:
        InvalidInput: there are none.
    """
    if scheme not in MICRO_IO:
        known = " or ".join(member.value for member in MICRO_IO)
        raise InvalidInput(f"scheme={scheme.value} has no kernels, only {known}")


def check_installed(runtime: Runtime) -> None:
    """Checks that the package that `runtime` is verified with is installed.

    Raises:
        InvalidInput: it is not.
    """
    if runtime is Runtime.TFLM:
        require_package(
            "tflite_micro",
            f"C source is proven with the package {PACKAGE}",
            f"pip install {PACKAGE}, or use runtime=standalone, which needs no package",
        )


def raw_answers(
    probabilities: np.ndarray, quantization: tuple[float, int]
) -> np.ndarray:
    """Computes what a file answered before it was dequantised, [N, K].

    Args:
        probabilities: float64 [N, K], multiples of the scale.
        quantization: (scale, zero point); (0.0, 0) if the answers are floats.
    """
    scale, zero_point = quantization
    if scale == 0:
        return probabilities.astype(np.float32)
    return np.rint(probabilities / scale).astype(np.int64) + zero_point
