"""Writes a run as a SavedModel for TensorFlow Serving, verified on the test split.

Synopsis::

    python -m export.saved_model  # runs/latest/export/saved_model/1/; again: 2/

It needs TensorFlow alone to load: no Keras, nothing of ours.
"""

from typing import NoReturn

from absl import flags

from export import export_flags
from export.examples import next_step
from trainer.cli import command
from trainer.monitoring import native_output


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    return export_flags.define(values)


def main(values: flags.FlagValues) -> None:
    """Exports one SavedModel and prints where it is."""
    request = export_flags.parse_request(values, folders=True)
    with native_output.loading_libraries():
        from export.serving import saved_model_writer
    made = saved_model_writer.export_saved_model(request)
    print(made.summary(), next_step.describe(made), sep="\n")


def run() -> NoReturn:
    """Runs the command with the words of this process."""
    values = define(flags.FlagValues())
    command.run(
        "export.saved_model",
        "Writes a run as a SavedModel and proves it on the test split.",
        values,
        lambda: main(values),
    )


if __name__ == "__main__":
    run()
