"""Measures images per second by cores, replicas, workers and batch size, interleaved.

    python -m benchmarks.scaling --data_dir=... --global_batch=64,256 --replicas=2

It compares four trainers: one replica on one core, one on all cores, `--replicas`
    logical
replicas in one process, and as many workers of one core each. benchmarks.input_cost
measures the cost by the size of the data set.
"""

import contextlib
import os
from collections.abc import Iterator

from absl import flags

from benchmarks import interleave, training
from trainer.cli import command

VALUES = flags.FlagValues()


def define(values: flags.FlagValues) -> flags.FlagValues:
    training.define(values, batches=[128, 256])
    flags.DEFINE_integer(
        "replicas",
        2,
        "Logical replicas, and workers.",
        lower_bound=2,
        flag_values=values,
        module_name="Training",
    )
    training.define_steps(values)
    return interleave.define(values, 3)


@contextlib.contextmanager
def cores(count: int) -> Iterator[None]:
    """Limits processes that are started within the context to `count` cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def rows(batch: int) -> list[dict]:
    """Measures a row for each kind of trainer with the global `batch`."""
    words = [*training.words(VALUES), f"--global_batch={batch}"]
    size = {"steps": VALUES.steps, "global_batch": batch}
    count, usable = VALUES.replicas, len(os.sched_getaffinity(0))
    mirrored = ["--strategy=mirrored", f"--logical_devices={count}"]
    workers = ("launch.local", f"--workers={count}", "--cores_per_worker=1", "--")

    def alone() -> float:
        with cores(1):
            return training.speed(words, **size)

    sides = {
        "1 core": alone,
        f"{usable} cores": lambda: training.speed(words, **size),
        f"{count} replicas": lambda: training.speed([*words, *mirrored], **size),
        f"{count} workers": lambda: training.speed(words, command=workers, **size),
    }
    measured = interleave.interleaved(sides, VALUES.rounds)
    return [
        {
            "batch": batch,
            "trainer": name,
            "images/s": middle,
            "by 1 core": interleave.ratio(measured, name, "1 core"),
        }
        for name, middle in interleave.medians(measured).items()
    ]


def main() -> None:
    found = [
        row
        for batch in interleave.counts(VALUES, "global_batch")
        for row in rows(batch)
    ]
    interleave.report("scaling", training.describe_settings(VALUES), found)


if __name__ == "__main__":
    command.run("benchmarks.scaling", __doc__, define(VALUES), main)
