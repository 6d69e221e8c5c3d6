"""Images per second of the whole trainer and of Keras' `fit`, interleaved.

    python -m benchmarks.against_keras_fit --data_dir=... --model=cnn --rounds=3

The trainer is a process with default logging and saving, as in benchmarks.throughput;
"fit" is Keras' own loop on the same layers (Keras' Dropout and BatchNormalization),
data and augmentation through tf.data, and saves nothing.
"""

from absl import flags

from benchmarks import rounds, training
from trainer import commandline, quiet

VALUES = flags.FlagValues()


def define(values: flags.FlagValues) -> flags.FlagValues:
    training.define(values)
    training.define_steps(values)
    return rounds.define(values, 3)


def main() -> None:
    with quiet.start_up():
        from benchmarks.keras_fit import Fit
        from trainer import cluster

        cluster.set_threads(None)
        split = training.split(VALUES)
        settings = training.config(VALUES)
        fit = Fit(settings, split.images, split.labels, len(split.names))
    words = training.words(VALUES)
    size = {"steps": VALUES.steps, "global_batch": VALUES.global_batch}
    sides = {
        "trainer": lambda: training.speed(words, **size),
        "fit": lambda: fit.speed(VALUES.steps),
    }
    measured = rounds.interleaved(sides, VALUES.rounds)
    row = rounds.medians(measured)
    row["trainer / fit"] = rounds.ratio(measured, "trainer", "fit")
    settings = training.settings(VALUES) | {"unit": "images/s"}
    rounds.report("against_keras_fit", settings, [row])


if __name__ == "__main__":
    commandline.run("benchmarks.against_keras_fit", __doc__, define(VALUES), main)
