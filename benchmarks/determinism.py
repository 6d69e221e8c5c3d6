"""Compares images per second with --deterministic and --nodeterministic.

    python -m benchmarks.determinism --data_dir=... --model=cnn --rounds=3

Images per second of two trainers, each a process as in benchmarks.throughput.
"""

from absl import flags

from benchmarks import comparison
from trainer.cli import command

VALUES = comparison.define(flags.FlagValues())


def main() -> None:
    names = ("deterministic", "nodeterministic")
    sides = {name: comparison.trainer(VALUES, f"--{name}") for name in names}
    comparison.report("determinism", VALUES, sides, title="deterministic / not")


if __name__ == "__main__":
    command.run("benchmarks.determinism", __doc__, VALUES, main)
