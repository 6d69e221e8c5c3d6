"""Prepares a TFDS data set: python -m trainer.prepare --dataset=digits."""

import sys
from typing import NoReturn

from absl import flags

from trainer.cli import command
from trainer.monitoring import native_output


def _define(values: flags.FlagValues) -> flags.FlagValues:
    where = {"flag_values": values, "module_name": "Data"}
    flags.DEFINE_string("dataset", "cifar10", "TFDS data set to prepare.", **where)
    flags.DEFINE_string(
        "data_dir", None, "Where it goes; off: $TFDS_DATA_DIR or TFDS's own.", **where
    )
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **where)
    return values


def main(values: flags.FlagValues) -> None:
    """Prepares the data set and prints its location."""
    with native_output.suppress_native_stderr():
        from trainer.data.sources import tfds_preparation
    builder = tfds_preparation.prepare(
        values.dataset, values.data_dir, say=lambda m: print(m, file=sys.stderr)
    )
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    print(f"{builder.info.full_name} is prepared in {builder.data_dir}: {counts}")


def run() -> NoReturn:
    """Runs the command with the arguments of this process."""
    values = _define(flags.FlagValues())
    command.run(
        "trainer.prepare",
        "Prepares a TFDS data set.",
        values,
        lambda: main(values),
    )


if __name__ == "__main__":
    run()
