"""Programs that classify a picture by a `.tflite`: Python, C++, Kotlin and Swift."""

import numpy as np

from export.artifact.number_formats import Io
from export.examples.program_facts import ProgramFacts
from export.examples.source_templates import (
    fill_template,
    format_comment,
    format_labels,
)
from trainer.models.normalization import PIXEL_MEAN, PIXEL_STD

FIRST = "classify.py"  # the program that a command names as the next step
_MARKS = {"python": "#", "c": "//", "kotlin": "//", "swift": "//"}
_FILES = {
    "python": FIRST,
    "c": "classify.cc",
    "kotlin": "Classify.kt",
    "swift": "Classify.swift",
}
_BYTES = {Io.UINT8: 1, Io.INT8: 1, Io.INT16: 2, Io.FLOAT32: 4}
_C_TYPES = {io: f"{io.value}_t" for io in Io} | {Io.FLOAT32: "float"}
_SWIFT_TYPES = {Io.UINT8: "UInt8", Io.INT8: "Int8", Io.INT16: "Int16"}
_SWIFT_TYPES[Io.FLOAT32] = "Float32"
# How a pixel, 0 to 255, becomes an input.
_PYTHON_INPUTS = {
    Io.UINT8: "pixels",
    Io.INT8: "(pixels.astype(np.int16) - {mean}).astype(np.int8)",
    Io.FLOAT32: "(pixels.astype(np.float32) - {mean}) / {std}",
    Io.INT16: (
        "np.rint(np.clip((pixels.astype(np.float32) - {mean}) / {std}"
        " / np.float32({scale}),\n                           -32768, 32767))"
        ".astype(np.int16)"
    ),
}
_C_INPUTS = {
    Io.UINT8: "pixel",
    Io.INT8: "pixel - {mean}",
    Io.FLOAT32: "static_cast<float>(pixel - {mean}) / {std}.0f",
    Io.INT16: (
        "rintf(fminf(fmaxf(static_cast<float>(pixel - {mean}) / {std}.0f / {scale}f,"
        " -32768),\n                                      32767))"
    ),
}
_KOTLIN_INPUTS = {
    Io.UINT8: "input.put(pixel.toByte())",
    Io.INT8: "input.put((pixel - {mean}).toByte())",
    Io.FLOAT32: "input.putFloat((pixel - {mean}) / {std}f)",
    Io.INT16: (
        "val real = (pixel - {mean}) / {std}f / {scale}f\n"
        "            input.putShort(round(real.coerceIn(-32768f, 32767f)).toInt()"
        ".toShort())"
    ),
}
_KOTLIN_OUTPUTS = {
    Io.UINT8: "(output.get().toInt() and 255)",
    Io.INT8: "output.get().toInt()",
    Io.FLOAT32: "output.getFloat()",
    Io.INT16: "output.getShort().toInt()",
}
_SWIFT_INPUTS = {
    Io.UINT8: "UInt8(pixel)",
    Io.INT8: "Int8(pixel - {mean})",
    Io.FLOAT32: "Float32(pixel - {mean}) / {std}",
    Io.INT16: (
        "Int16(max(-32768, min(32767, Float32(pixel - {mean}) / {std} / {scale}))"
        ".rounded(.toNearestOrEven))"
    ),
}
_INPUTS = {
    "python": _PYTHON_INPUTS,
    "c": _C_INPUTS,
    "kotlin": _KOTLIN_INPUTS,
    "swift": _SWIFT_INPUTS,
}


def format_programs(file: str, facts: ProgramFacts) -> dict[str, str]:
    """Formats the programs: their text by their names.

    Args:
        file: name of the `.tflite`.
        facts: what it takes and answers.
    """
    return {
        name: fill_template(name, model=file, **_values(language, facts))
        for language, name in _FILES.items()
    }


def _values(language: str, facts: ProgramFacts) -> dict[str, object]:
    """The values of a template of `language`; it need not use all of them."""
    height, width, channels = facts.shape
    scale, zero_point = facts.output_quantization
    types = _SWIFT_TYPES if language == "swift" else _C_TYPES
    resize = facts.resize.upper() if language == "c" else facts.resize
    return {
        "origin": format_comment(facts.origin, _MARKS[language]),
        "labels": format_labels(facts.labels, language),
        "classes": len(facts.labels),
        "height": height,
        "width": width,
        "channels": channels,
        "resize": resize,
        "encode": _format_input(language, facts),
        "decode": _KOTLIN_OUTPUTS[facts.output],
        "input_type": types[facts.input],
        "output_type": types[facts.output],
        "input_bytes": _BYTES[facts.input],
        "output_bytes": _BYTES[facts.output],
        "output_scale": repr(float(scale)),
        "output_zero_point": repr(float(zero_point)),
        **facts.threshold_values(),
        "pixels": fill_template("pixels.c") if language == "c" else "",
    }


def _format_input(language: str, facts: ProgramFacts) -> str:
    """The expression or statement that makes an input of `pixel` or `pixels`."""
    scale = repr(float(np.float32(facts.input_scale)))
    text = _INPUTS[language][facts.input]
    return text.format(mean=PIXEL_MEAN, std=PIXEL_STD, scale=scale)
