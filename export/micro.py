"""Writes a run as C source for microcontrollers, verified with their own interpreter.

Synopsis::

    python -m export.micro  # runs/latest/export/micro_int8/model.h and model.c

The arena is the smallest with which TensorFlow Lite Micro and its reference kernels
start, and the test split is run in it; what CMSIS-NN's kernels need is computed.
"""

from typing import NoReturn

from absl import flags

from export import export_flags
from export.artifact.number_formats import Scheme
from export.microcontroller import micro_formats
from trainer.cli import command
from trainer.monitoring import native_output


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    flags.DEFINE_enum(
        "scheme",
        Scheme.INT8.value,
        [scheme.value for scheme in micro_formats.MICRO_IO],
        "Of weights and arithmetic.",
        flag_values=values,
        module_name="Number format",
    )
    return export_flags.define_with_kernels(values)


def main(values: flags.FlagValues) -> None:
    """Exports the C source and prints where it is."""
    export_flags.parse_verification(values)
    micro_formats.check_installed()
    request = export_flags.parse_request(values, folders=True)
    with native_output.suppress_native_stderr():
        from export.microcontroller import micro_writer
    artifact = micro_writer.export_micro(request, Scheme(values.scheme))
    print(artifact.summary(), micro_writer.arena_summary(artifact), sep="\n")


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
