"""Compares every format of a run: accuracy, size, load time, memory and latency.

Synopsis::

    python -m export.bench  # a table, and bench.json, .png, .svg in the run's export/
    python -m export.bench --formats=int8,float32  # these beside the checkpoint
    python -m export.bench --targets=all  # also in a browser, as C, on a chip, as ONNX

A format that is not there yet, or not of these weights, is exported first.
docs/export.md has the fields of bench.json.
"""

from typing import NoReturn

from absl import flags

from eval import evaluation_flags
from export import export_flags
from export.measure.targets.target import EVERY, FORMATS, NONE, BenchOptions, Target
from trainer.cli import command
from trainer.monitoring import native_output


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    what = {"flag_values": values, "module_name": "What to measure"}
    flags.DEFINE_list(
        "formats",
        None,
        f"What is measured in addition to the checkpoint: {EVERY} or a list of"
        f" {', '.join(FORMATS[1:])}. Default: all that the run has.",
        **what,
    )
    flags.DEFINE_list(
        "targets",
        None,
        f"What else is measured, exported first if it is not there: {EVERY}, {NONE} or"
        f" a list of {', '.join(target.value for target in Target)}. Default: what is"
        " there.",
        **what,
    )
    evaluation_flags.define_signature(values)
    return export_flags.define_with_kernels(values)


def main(values: flags.FlagValues) -> None:
    """Measures the formats, prints the table and writes bench.json."""
    options = BenchOptions.from_words(values.targets, values.formats)
    key = evaluation_flags.parse_signature(values)
    request = export_flags.parse_request(values, folders=True)
    options.check_run(request.run)
    with native_output.loading_libraries():
        from export.measure import bench_document
    document, path = bench_document.write_bench(request, options, key)
    print(path, bench_document.format_summary(document), sep="\n")
    if values["max_accuracy_drop"].present:
        bench_document.enforce_gates(document, values.max_accuracy_drop)


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
