"""Compares images per second of the whole trainer and of Keras' `fit`, interleaved.

    python -m benchmarks.against_keras_fit --data_dir=... --model=cnn --rounds=3

The trainer is a process with default logging and saving, as in benchmarks.throughput;
"fit" is Keras' own loop on the same layers (Keras' Dropout and BatchNormalization),
data and augmentation through tf.data, and saves nothing.
"""

from absl import flags

from benchmarks import comparison, training
from trainer.cli import command
from trainer.monitoring import native_output

VALUES = comparison.define(flags.FlagValues())


def main() -> None:
    with native_output.suppress_native_stderr():
        from benchmarks.keras_fit import Fit
        from trainer.distributed import strategy

        strategy.set_threads(None)
        settings = training.build_config(VALUES)
        split = training.load_training_split(VALUES)
        fit = Fit(settings, split.images, split.labels, len(split.names))
    sides = {
        "trainer": comparison.trainer(VALUES),
        "fit": lambda: fit.speed(VALUES.steps),
    }
    comparison.report("against_keras_fit", VALUES, sides, title="trainer / fit")


if __name__ == "__main__":
    command.run("benchmarks.against_keras_fit", __doc__, VALUES, main)
