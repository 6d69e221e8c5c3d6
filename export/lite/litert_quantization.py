"""Quantises a float `.tflite` with litert-quantizer, a second route to integer files.

The converter of TensorFlow is announced to leave it; this package is LiteRT's own and
needs no TensorFlow. It is optional, and imported here alone.

Its default, a moving average of ranges, forgets what the first images showed (resnet8:
58.5 % instead of 63.1 % of CIFAR-10): here a range is that of all images. So a pixel 0
and a pixel 255 in one image give the input the scale of pixels.
"""

import importlib.metadata
import re
from collections.abc import Sequence
from typing import Any

from export.artifact.number_formats import Io, Scheme
from export.lite.calibration_images import CalibrationImages
from export.lite.tflite_options import PACKAGE, KeptAs
from trainer.errors import TrainingFailed, first_line, require_package
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE

_SIGNATURE, _INPUT = "serving_default", "images"
_ACTIVATION_BITS = {Scheme.INT8: 8, Scheme.INT16X8: 16}
_WEIGHT_BITS = 8


def check_installed() -> None:
    """Checks that the package is installed.

    Raises:
        InvalidInput: it is not.
    """
    require_package(
        "litert_quantizer",
        f"quantizer=litert needs the package {PACKAGE}",
        f"pip install {PACKAGE}, or use quantizer=tflite",
    )


def describe_quantizer() -> dict[str, str]:
    """The field of a manifest that names the package."""
    return {"name": PACKAGE, "version": importlib.metadata.version(PACKAGE)}


def quantize(
    content: bytes,
    scheme: Scheme,
    io: Io,
    images: CalibrationImages,
    kept: Sequence[str] = (),
    kept_as: KeptAs = KeptAs.FLOAT32,
) -> bytes:
    """Quantises `content`, a float32 `.tflite` that takes (pixel - 128) / 128.

    Args:
        images: set the ranges of activations.
        kept: names of output tensors whose operators are computed as `kept_as`.

    Raises:
        InvalidInput: the package is not installed.
        TrainingFailed: it cannot quantise this network.
    """
    check_installed()
    with native_output.suppress_native_stderr(f"quantising to {scheme.value}"):
        try:
            return _quantize(content, _format_recipe(scheme, io, kept, kept_as), images)
        except Exception as error:  # the package has no exception of its own
            raise TrainingFailed(
                f"{PACKAGE} cannot quantise to {scheme.value}: {first_line(error)};\n"
                "use quantizer=tflite"
            ) from error


def _quantize(
    content: bytes, recipe: list[dict[str, Any]], images: CalibrationImages
) -> bytes:
    from litert_quantizer import calibrator, quantizer, recipe_manager
    from litert_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    found = calibrator.Calibrator(
        content, num_threads=1, qsv_update_func=qsv_utils.min_max_update
    )
    with CONSOLE.count(len(images.images), "calibrating") as tick:
        for [image] in images.normalised():
            found.calibrate({_SIGNATURE: [{_INPUT: image}]}, manager)
            tick(1)
    made = quantizer.Quantizer(content, recipe).quantize(
        found.get_model_qsvs(), enable_progress_bar=False, enable_progress_report=False
    )
    return bytes(made.quantized_model)


def _format_recipe(
    scheme: Scheme, io: Io, kept: Sequence[str], kept_as: KeptAs
) -> list[dict[str, Any]]:
    """The recipe: later rules replace earlier ones where their expression matches."""
    rules = [_format_rule(".*", "*", _ACTIVATION_BITS[scheme])]
    if io is Io.FLOAT32:
        rules += [_leave_float(".*", end) for end in ("INPUT", "OUTPUT")]
    if io is Io.UINT8:
        rules += [
            _format_rule(".*", end, 8, dtype="UINT") for end in ("INPUT", "OUTPUT")
        ]
    for name in kept:
        place = f"^{re.escape(name)};"
        exact = kept_as is KeptAs.FLOAT32
        rules.append(
            _leave_float(place, "*") if exact else _format_rule(place, "*", 16)
        )
    return rules


def _leave_float(place: str, operation: str) -> dict[str, Any]:
    return {"regex": place, "operation": operation, "algorithm_key": "no_quantize"}


def _format_rule(
    place: str, operation: str, bits: int, dtype: str = "INT"
) -> dict[str, Any]:
    """A rule for activations of `bits`, symmetric if they have 16."""
    activation = {
        "num_bits": bits,
        "symmetric": bits == 16,
        "granularity": "TENSORWISE",
        "dtype": dtype,
    }
    weight = {
        "num_bits": _WEIGHT_BITS,
        "symmetric": True,
        "granularity": "CHANNELWISE",
        "dtype": "INT",
    }
    return {
        "regex": place,
        "operation": operation,
        "algorithm_key": "min_max_uniform_quantize",
        "op_config": {
            "activation_tensor_config": activation,
            "weight_tensor_config": weight,
            "compute_precision": "INTEGER",
            "explicit_dequantize": False,
        },
    }
