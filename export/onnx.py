"""Writes a run as ONNX for ONNX Runtime, verified on the test split.

Synopsis::

    python -m export.onnx  # runs/latest/export/model_float32.onnx

It takes raw pixels, [N, H, W, C] of bytes, and answers with probabilities. Labels,
temperature and manifest are in its metadata.
"""

from typing import NoReturn

from absl import flags

from export import export_flags
from export.examples import next_step
from export.onnx_files import onnx_packages
from trainer.cli import command
from trainer.monitoring import native_output


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    return export_flags.define(values)


def main(values: flags.FlagValues) -> None:
    """Exports one file and prints where it is."""
    onnx_packages.check_installed()
    request = export_flags.parse_request(values)
    with native_output.loading_libraries():
        from export.onnx_files import onnx_writer
    made = onnx_writer.export_onnx(request)
    print(made.summary(), next_step.describe(made), sep="\n")


def run() -> NoReturn:
    """Runs the command with the words of this process."""
    values = define(flags.FlagValues())
    command.run(
        "export.onnx",
        "Writes a run as ONNX and proves it on the test split.",
        values,
        lambda: main(values),
    )


if __name__ == "__main__":
    run()
