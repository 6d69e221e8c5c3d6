"""The packages that write and run ONNX, which are optional."""

import importlib.util

from trainer.errors import InvalidInput

PACKAGES = ("onnx", "onnxruntime", "tf2onnx")  # named as what they are imported by


def check_installed() -> None:
    """Checks that all of PACKAGES are installed.

    Raises:
        InvalidInput: one of them is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"ONNX needs {' and '.join(missing)}, not installed here;\n"
            f"pip install {' '.join(PACKAGES)}"
        )
