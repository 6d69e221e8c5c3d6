"""Compares images per second of the whole trainer and of its bare step, interleaved.

    python -m benchmarks.throughput --data_dir=... --model=cnn --rounds=3

The trainer is a process with default logging and saving, without validation. Its speed
is measured between two lines of TensorBoard, `--steps` steps apart, so only start-up is
excluded. "bare" is forward, backward and update of the same network on one constant
batch: the speed of a trainer without any overhead.
"""

from absl import flags

from benchmarks import comparison, training
from trainer.cli import command
from trainer.monitoring import native_output

BAR = 0.97  # trainer / bare
VALUES = comparison.define(flags.FlagValues())


def main() -> None:
    with native_output.suppress_native_stderr():
        from benchmarks.bare_step import Bare
        from trainer.distributed import strategy

        strategy.set_threads(None)
        settings = training.build_config(VALUES)
        split = training.load_training_split(VALUES)
        count = VALUES.global_batch
        batch = split.images[:count], split.labels[:count]
        bare = Bare(settings, *batch, len(split.names))
    sides = {
        "trainer": comparison.trainer(VALUES),
        "bare": lambda: bare.speed(VALUES.steps),
    }
    comparison.report("throughput", VALUES, sides, title="trainer / bare", bar=BAR)


if __name__ == "__main__":
    command.run("benchmarks.throughput", __doc__, VALUES, main)
