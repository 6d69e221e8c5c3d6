"""Images per second of the whole trainer and of its bare step, interleaved.

    python -m benchmarks.throughput --data_dir=... --model=cnn --rounds=3

The trainer runs as its users run it: a process with default logging and saving, without
validation. Its speed is that between two lines of TensorBoard, `--steps` steps apart,
so nothing but start-up is left out. "bare" is forward, backward and update of the same
network on one constant batch: what a trainer that costs nothing would reach.
"""

from absl import flags

from benchmarks import rounds, training
from trainer import commandline, quiet

BAR = 0.97  # trainer / bare
VALUES = flags.FlagValues()


def define(values: flags.FlagValues) -> flags.FlagValues:
    training.define(values)
    training.define_steps(values)
    return rounds.define(values, 3)


def main() -> None:
    with quiet.start_up():
        from benchmarks.bare import Bare
        from trainer import cluster

        cluster.set_threads(None)
        split = training.split(VALUES)
        count = VALUES.global_batch
        batch = split.images[:count], split.labels[:count]
        bare = Bare(training.config(VALUES), *batch, len(split.names))
    words = training.words(VALUES)
    size = {"steps": VALUES.steps, "global_batch": count}
    sides = {
        "trainer": lambda: training.speed(words, **size),
        "bare": lambda: bare.speed(VALUES.steps),
    }
    measured = rounds.interleaved(sides, VALUES.rounds)
    row = rounds.medians(measured)
    row["trainer / bare"] = rounds.ratio(measured, "trainer", "bare")
    settings = training.settings(VALUES) | {"unit": "images/s", "bar": BAR}
    rounds.report("throughput", settings, [row])


if __name__ == "__main__":
    commandline.run("benchmarks.throughput", __doc__, define(VALUES), main)
