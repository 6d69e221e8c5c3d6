"""TensorFlow Lite Micro: its package and the number formats it has kernels for."""

import importlib.util

from export.artifact.number_formats import Io, Scheme
from trainer.errors import InvalidInput

PACKAGE = "tflite-micro"  # optional
# The type of input and output: these files cannot CAST uint8.
MICRO_IO = {
    Scheme.INT8: Io.INT8,
    Scheme.INT16X8: Io.INT16,
    Scheme.FLOAT32: Io.FLOAT32,
}
ACTIVATION_BYTES = {Scheme.INT8: 1, Scheme.INT16X8: 2, Scheme.FLOAT32: 4}


def check_scheme(scheme: Scheme) -> None:
    """Checks that there are kernels for `scheme`.

    Raises:
        InvalidInput: there are none.
    """
    if scheme not in MICRO_IO:
        known = " or ".join(member.value for member in MICRO_IO)
        raise InvalidInput(f"scheme={scheme.value} has no kernels, only {known}")


def is_installed() -> bool:
    """Whether the package of the interpreter is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def check_installed() -> None:
    """Checks that the package of the interpreter is installed.

    Raises:
        InvalidInput: it is not.
    """
    if not is_installed():
        raise InvalidInput(
            f"C source is proven with the package {PACKAGE}, which is not installed;\n"
            f"pip install {PACKAGE}"
        )
