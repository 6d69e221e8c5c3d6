"""Two or more runs or model files side by side on one test split, with significance.

Synopsis::

    python -m eval.compare runs/a runs/b
    python -m eval.compare runs/a runs/a/export/model_int8.tflite --out_dir=int8
"""

import contextlib
import pathlib
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from absl import flags

from eval import model_source, report, runner
from eval.formats import atomic_folders
from eval.predictors import sandbox
from eval.reports import comparison, report_files
from trainer.cli import command as cli_command
from trainer.config import parsing
from trainer.config.enums import EvalTta
from trainer.errors import InvalidInput, TrainingFailed, UsageError
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE
from trainer.rundir.layout import Run

if TYPE_CHECKING:
    from eval.model_source import ModelSource
    from eval.reports.comparison import ModelResult

WORDS = "A B ..."
# As eval.reports.comparison calls its files; importing it would start TensorFlow.
NAMES = ("comparison.html", "comparison.json")


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    report.define_reading(values)
    out = {"flag_values": values, "module_name": "Comparison"}
    flags.DEFINE_string("out_dir", "comparison", "Where the files go.", **out)
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **out)
    return values


def main(values: flags.FlagValues, words: list[str]) -> None:
    """Compares what `words` name with the first of them, and writes the comparison."""
    if len(words) < 2:
        raise UsageError(
            f"two or more runs or model files are needed, got {len(words)};"
            " python -m eval.compare A B"
        )
    report.check_reading(values)
    out = parsing.parse_path("out_dir", values.out_dir)
    report.check_folder(out, NAMES)
    report.start()

    how = report.reading(values)
    with native_output.suppress_native_stderr("opening the models"):
        chosen = [model_source.from_path(word, values.output, **how) for word in words]
    if values.kernels and all(one.facts["kind"] != "tflite" for one in chosen):
        raise UsageError(
            f"--kernels={values.kernels} is for .tflite files, and none is compared"
        )
    chosen = model_source.distinct(chosen)
    _check_same(out, comparison.kept(out), chosen, values)
    try:
        entries = _entries(chosen, values)
        with CONSOLE.phase("comparing"):
            found = comparison.build_comparison(entries)
    except InvalidInput:
        raise
    except ValueError as error:
        raise TrainingFailed(str(error)) from error
    report_files.write(out, comparison.files_of(found, entries[0].split))
    for line in comparison.lines(found):
        print(line)
    print(out / comparison.PAGE)


def _check_same(
    out: pathlib.Path,
    old: dict[str, Any],
    chosen: list["ModelSource"],
    values: flags.FlagValues,
) -> None:
    """Refuses, or says, that another comparison `old` in `out` would give way."""
    models = [one.facts["path"] for one in chosen]
    new = {"models": models, "eval_tta": values.eval_tta}
    asked = values["out_dir"].present > 0
    if said := atomic_folders.check_same(out, old, new, asked):
        report.tell([said])


def _entries(
    chosen: list["ModelSource"], values: flags.FlagValues
) -> list["ModelResult"]:
    """Everyone's answers to the first one's test split, unless flags name another."""

    builder = report.builder(chosen[0], values)
    split = runner.load_split(builder, "test")
    tta = EvalTta(values.eval_tta)
    return comparison.evaluate_all(chosen, split, builder, tta, say=report.tell)


def _files(argv: list[str]) -> list[str]:
    """The words that are no runs, before anything is done; none if `argv` is wrong."""
    with contextlib.suppress(UsageError):
        words = cli_command.parse(define(flags.FlagValues()), argv, WORDS)
        return [w for w in words if not Run(pathlib.Path(w).expanduser()).exists]
    return []


def command() -> NoReturn:
    """Does what the words of the command line say."""
    values = define(flags.FlagValues())
    cli_command.run(
        "eval.compare",
        "Compares runs or model files with the first of them, on one test split.",
        values,
        lambda words: main(values, words),
        words=WORDS,
    )


def run() -> NoReturn:
    """Runs the command in a second process where a model file is foreign."""
    sandbox.supervised("eval.compare", command, _files(sys.argv))


if __name__ == "__main__":
    run()
