"""Compares the whole trainer with another side: shared flags, measurement, report.

Synopsis::

    VALUES = comparison.define(flags.FlagValues())
    sides = {"trainer": comparison.trainer(VALUES), "bare": lambda: bare.speed(300)}
    comparison.report("throughput", VALUES, sides, title="trainer / bare")
"""

from collections.abc import Callable, Mapping
from typing import Any

from absl import flags

from benchmarks import interleave, training


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the trainer's flags, --steps and --rounds."""
    training.define(values)
    training.define_steps(values)
    return interleave.define(values, 3)


def trainer(values: flags.FlagValues, *more: str) -> Callable[[], float]:
    """Returns a function that measures the trainer with the given flags and `more`."""
    words = [*training.words(values), *more]
    size = {"steps": values.steps, "global_batch": values.global_batch}
    return lambda: training.speed(words, **size)


def report(
    name: str,
    values: flags.FlagValues,
    sides: Mapping[str, Callable[[], float]],
    *,
    title: str,
    **settings: Any,
) -> None:
    """Measures two sides in turn and reports the ratio first / second as `title`.

    Args:
        name: of the benchmark.
        values: of its flags.
        sides: what each gives images per second with.
        title: of the column of the ratio.
        **settings: what is said of the benchmark besides its flags.
    """
    measured = interleave.interleaved(sides, values.rounds)
    row = interleave.medians(measured) | {title: interleave.ratio(measured, *sides)}
    interleave.report(
        name,
        training.describe_settings(values) | {"unit": "images/s", **settings},
        [row],
    )
