"""Compares every format of a run: accuracy, size, load time, memory and latency.

Synopsis::

    python -m export.bench  # a table, and runs/latest/export/bench.json

A format that is not there yet, or not of these weights, is exported first.
docs/export.md has the fields of bench.json.
"""

from typing import NoReturn

from absl import flags

from export import export_flags
from export.measure import table
from trainer.cli import command
from trainer.monitoring import native_output


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    return export_flags.define_with_kernels(values)


def main(values: flags.FlagValues) -> None:
    """Measures every format, prints the table and writes bench.json."""
    request = export_flags.parse_request(values)
    with native_output.loading_libraries():
        from export.measure import benchmark
    rows, path = benchmark.write_bench(request)
    print(table.format_table(rows), path, sep="\n")
    if values["max_accuracy_drop"].present:
        benchmark.enforce_gates(rows, values.max_accuracy_drop)


def run() -> NoReturn:
    """Runs the command with the words of this process."""
    values = define(flags.FlagValues())
    command.run(
        "export.bench",
        "Measures every format of a run side by side.",
        values,
        lambda: main(values),
    )


if __name__ == "__main__":
    run()
