"""Writes a run as C source for microcontrollers, verified with their own interpreter.

Synopsis::

    python -m export.micro  # runs/latest/export/micro/tflm/model.h and model.c
    python -m export.micro --runtime=standalone  # micro/standalone/, no library

For TensorFlow Lite Micro the arena is the smallest with which its interpreter and its
reference kernels start, and the test split is run in it; what CMSIS-NN's kernels need
is computed. Standalone C has its arena planned, and is compiled and run on the test
split where there is a C compiler.
"""

from typing import NoReturn

from absl import flags

from export import export_flags
from export.artifact.number_formats import Scheme
from export.examples import next_step
from export.microcontroller import micro_formats
from export.microcontroller.micro_formats import MICRO_IO, MicroOptions, Runtime
from trainer.cli import command
from trainer.config import parsing
from trainer.monitoring import native_output


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    where = {"flag_values": values, "module_name": "C source"}
    flags.DEFINE_enum(
        "runtime",
        Runtime.TFLM.value,
        [runtime.value for runtime in Runtime],
        "What runs the model: TensorFlow Lite Micro, or plain C99 without a library.",
        **where,
    )
    export_flags.define_scheme(values, MICRO_IO, "C source")
    flags.DEFINE_integer(
        "vectors", MicroOptions.vectors, "Test images in vectors.c.", **where
    )
    flags.DEFINE_string(
        "file",
        None,
        "An int8 .tflite of the run that standalone C is made from. Default: the one"
        " that was exported, or a new one.",
        **where,
    )
    return export_flags.define_with_kernels(values)


def parse_options(values: flags.FlagValues) -> MicroOptions:
    """Converts parsed flags to options.

    Raises:
        InvalidConfig: they contradict each other or are out of range.
    """
    return MicroOptions(
        Runtime(values.runtime),
        Scheme(values.scheme),
        values.vectors,
        None if values.file is None else parsing.parse_path("file", values.file),
    )


def main(values: flags.FlagValues) -> None:
    """Exports the C source and prints where it is."""
    export_flags.parse_verification(values)
    options = parse_options(values)
    micro_formats.check_installed(options.runtime)
    request = export_flags.parse_request(values, folders=True)
    with native_output.loading_libraries():
        from export.microcontroller import micro_writer
    artifact = micro_writer.export_micro(request, options)
    print(artifact.summary(), micro_writer.memory_summary(artifact), sep="\n")
    print(next_step.describe(artifact))


def run() -> NoReturn:
    """Runs the command with the words of this process."""
    values = define(flags.FlagValues())
    command.run(
        "export.micro",
        "Writes a run as C source for microcontrollers.",
        values,
        lambda: main(values),
    )


if __name__ == "__main__":
    run()
