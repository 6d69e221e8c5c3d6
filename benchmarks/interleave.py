"""Measures sides in turn and reports them as one table and one JSON object.

Synopsis::

    measured = interleave.interleaved({"a": a.speed, "b": b.speed}, 5)
    interleave.medians(measured)["a"], interleave.ratio(measured, "a", "b")

The speed of a shared machine changes from minute to minute by more than the difference
to be measured. So sides are measured A B A B, and ratios are computed within a round.
"""

import itertools
import json
import os
import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags

from trainer import system
from trainer.errors import InvalidInput
from trainer.monitoring import native_output

VERSION = 1
IDLE = 0.3  # a higher load means that other programs are running
LOAD = os.getloadavg()[0]  # the load before the measurement


def define(values: flags.FlagValues, default: int = 5) -> flags.FlagValues:
    """Declares --rounds."""
    flags.DEFINE_integer(
        "rounds",
        default,
        "How often each side is measured, in turn.",
        lower_bound=1,
        flag_values=values,
        module_name="Measurement",
    )
    return values


def define_chosen(values: flags.FlagValues, name: str, known: list[str]) -> None:
    """Declares the list flag `name` for `chosen`; the default is all of `known`."""
    flags.DEFINE_list(
        name,
        known,
        f"Of {', '.join(known)}, by commas.",
        flag_values=values,
        module_name="Comparison",
    )


def chosen(values: flags.FlagValues, name: str, allowed: list[str]) -> list[str]:
    """Reads the words of the list flag `name`.

    Raises:
        InvalidInput: none, or one that is not `allowed`.
    """
    words = values[name].value
    odd = [word for word in words if word not in allowed]
    if odd or not words:
        got = ",".join(words)
        raise InvalidInput(f"--{name}={got} must be of {', '.join(allowed)}, by commas")
    return words


def counts(values: flags.FlagValues, name: str) -> list[int]:
    """Reads the positive integers of the list flag `name`.

    Raises:
        InvalidInput: none, or another word.
    """
    words = values[name].value
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        got = ",".join(words)
        raise InvalidInput(f"--{name}={got} must be whole numbers above 0, by commas")
    return [int(word) for word in words]


def interleaved(
    sides: Mapping[str, Callable[[], float]], count: int
) -> dict[str, list[float]]:
    """Measures every side in each of `count` rounds; shows each result on stderr."""
    if LOAD > IDLE:
        print(f"others use this machine (load {LOAD:.1f})", file=sys.stderr)
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1, count + 1):
        for name, ask in sides.items():
            measured[name].append(ask())
        last = "  ".join(f"{n} {_short(values[-1])}" for n, values in measured.items())
        print(f"round {number}/{count}: {last}", file=sys.stderr, flush=True)
    return measured


def medians(measured: Mapping[str, list[float]]) -> dict[str, float]:
    """Computes the median of each side over the rounds."""
    return {name: statistics.median(values) for name, values in measured.items()}


def ratio(measured: Mapping[str, list[float]], one: str, other: str) -> float:
    """Computes the median over rounds of the ratio `one` / `other` in a round."""
    pairs = zip(measured[one], measured[other], strict=True)
    return statistics.median(a / b for a, b in pairs)


def report(name: str, settings: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
    """Prints `rows` as tables to stderr, and everything as JSON to stdout.

    Rows with the same first title are one table.
    """
    cores = system.threads()
    with native_output.suppress_native_stderr():
        from trainer.distributed import environment

        found = environment.describe(settings.get("threads") or cores)
    document = {
        "version": VERSION,
        "benchmark": name,
        "command": " ".join(["python -m", f"benchmarks.{name}", *sys.argv[1:]]),
        "settings": dict(settings),
        "rows": [{title: _rounded(v) for title, v in row.items()} for row in rows],
        "environment": {**found, "load_before": round(LOAD, 2)},
    }
    for _, group in itertools.groupby(rows, key=lambda row: next(iter(row))):
        print(_table(list(group)), file=sys.stderr, flush=True)
    print(json.dumps(document, indent=2))


def _table(rows: list[dict[str, Any]]) -> str:
    """Formats `rows` with aligned columns and one line of titles."""
    titles = list(dict.fromkeys(title for row in rows for title in row))
    lines = [titles] + [[_short(row.get(t)) for t in titles] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


def _rounded(value: Any) -> Any:
    """Rounds to five digits, as further digits are noise."""
    return float(f"{value:.5g}") if isinstance(value, float) else value
