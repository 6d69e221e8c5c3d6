"""Writes a run as a `.tflite` that takes raw pixels, verified on the test split.

Synopsis::

    python -m export.tflite --quantize     # runs/latest/export/model_int8.tflite
    python -m export.tflite --scheme=float16 --io=float32
    python -m export.tflite --quantize --quantizer=litert  # model_int8_litert.tflite
"""

from typing import NoReturn

from absl import flags

from export import export_flags
from export.artifact.number_formats import Io, Scheme, resolve_formats
from export.examples import next_step
from export.lite import litert_quantization
from export.lite.tflite_options import (
    CALIBRATION_IMAGES,
    PACKAGE,
    KeptAs,
    QuantizerChoice,
    TFLiteOptions,
)
from trainer.cli import command
from trainer.monitoring import native_output


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    where = {"flag_values": values, "module_name": "Number format"}
    flags.DEFINE_bool("quantize", False, "Integers only: --scheme=int8.", **where)
    flags.DEFINE_enum(
        "scheme",
        None,
        [scheme.value for scheme in Scheme],
        "Numbers of weights and arithmetic. Default: float32.",
        **where,
    )
    flags.DEFINE_enum(
        "io",
        None,
        [io.value for io in Io],
        "Numbers of pixels and probabilities; float32 and int16 inputs are "
        "(pixel - 128) / 128. Default: uint8 (float networks answer in float32), "
        "int16 for int16x8.",
        **where,
    )
    flags.DEFINE_integer(
        "calibration_images",
        CALIBRATION_IMAGES,
        "Training images that set the ranges of int8 and int16x8.",
        **where,
    )
    _define_quantizer(values)
    return export_flags.define_with_kernels(values)


def _define_quantizer(values: flags.FlagValues) -> None:
    where = {"flag_values": values, "module_name": "Quantiser"}
    flags.DEFINE_enum_class(
        "quantizer",
        QuantizerChoice.TFLITE,
        QuantizerChoice,
        "What makes int8 and int16x8: the converter of TensorFlow, or the package"
        f" {PACKAGE} from the float file.",
        **where,
    )
    flags.DEFINE_integer(
        "kept_layers",
        0,
        "Layers of an int8 file that are left in other numbers: those that add most to"
        " its error. Needs --quantizer=litert.",
        **where,
    )
    flags.DEFINE_enum_class(
        "kept_as", KeptAs.FLOAT32, KeptAs, "The numbers of these layers.", **where
    )


def parse_options(values: flags.FlagValues) -> TFLiteOptions:
    """Converts parsed flags to options.

    Raises:
        InvalidConfig: they contradict each other or are out of range.
    """
    scheme, io = resolve_formats(
        values.quantize,
        Scheme(values.scheme) if values.scheme else None,
        Io(values.io) if values.io else None,
    )
    return TFLiteOptions(
        scheme,
        io,
        values.calibration_images,
        values.quantizer,
        values.kept_layers,
        values.kept_as,
    )


def main(values: flags.FlagValues) -> None:
    """Exports one file and prints where it is."""
    options = parse_options(values)
    if options.quantizer is QuantizerChoice.LITERT:
        litert_quantization.check_installed()
    request = export_flags.parse_request(values)
    with native_output.loading_libraries():
        from export.lite import tflite_writer
    made = tflite_writer.export_tflite(request, options)
    print(made.summary(), next_step.describe(made), sep="\n")


def run() -> NoReturn:
    """Runs the command with the words of this process."""
    values = define(flags.FlagValues())
    command.run(
        "export.tflite",
        "Writes a run as a .tflite file and proves it on the test split.",
        values,
        lambda: main(values),
    )


if __name__ == "__main__":
    run()
