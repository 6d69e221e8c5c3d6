"""What operators that repeat their bits cost: --deterministic and --nodeterministic.

    python -m benchmarks.determinism --data_dir=... --model=cnn --rounds=3

Images per second of two trainers, each a process as in benchmarks.throughput.
"""

from absl import flags

from benchmarks import rounds, training
from trainer import commandline

VALUES = flags.FlagValues()


def define(values: flags.FlagValues) -> flags.FlagValues:
    training.define(values)
    training.define_steps(values)
    return rounds.define(values, 3)


def main() -> None:
    words = training.words(VALUES)
    size = {"steps": VALUES.steps, "global_batch": VALUES.global_batch}
    sides = {
        name: lambda name=name: training.speed([*words, f"--{name}"], **size)
        for name in ("deterministic", "nodeterministic")
    }
    measured = rounds.interleaved(sides, VALUES.rounds)
    row = rounds.medians(measured)
    row["deterministic / not"] = rounds.ratio(measured, *sides)
    settings = training.settings(VALUES) | {"unit": "images/s"}
    rounds.report("determinism", settings, [row])


if __name__ == "__main__":
    commandline.run("benchmarks.determinism", __doc__, define(VALUES), main)
