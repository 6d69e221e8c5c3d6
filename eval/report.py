"""Evaluates a run, a SavedModel, .tflite or .onnx on its test split.

Synopsis::

    python -m eval.report  # runs/latest -> runs/latest/report/
    python -m eval.report --model=model.tflite --dataset=cifar10 --corruptions
"""

import contextlib
import functools
import sys
from typing import NoReturn

from absl import flags

from eval import evaluation_flags
from eval.evaluation_flags import print_translated
from eval.predictors import sandbox
from eval.reports import output_folder
from eval.reports.requests import ReportRequest
from trainer.cli import command as cli_command
from trainer.config import parsing
from trainer.errors import InvalidInput
from trainer.monitoring import native_output


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    evaluation_flags.define_model(values, "What to evaluate")
    evaluation_flags.define(values)
    out = {"flag_values": values, "module_name": "Report"}
    flags.DEFINE_string(
        "out_dir",
        None,
        "Where the report goes. Default: the run's report/, or <model>.report/;"
        " test-time augmentation is added to that name.",
        **out,
    )
    flags.DEFINE_bool(
        "corruptions", False, "Also on corrupted images, 75 times as many.", **out
    )
    flags.DEFINE_integer(
        "corruption_sample", None, "Test images to corrupt. Default: all.", **out
    )
    flags.DEFINE_string(
        "no_class_data",
        None,
        "A TFDS data set (its test split), or a folder of image files, that shows none"
        " of the classes: how much of it is refused. Default: sets that need no"
        " download.",
        **out,
    )
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **out)
    return values


def parse_request(values: flags.FlagValues) -> ReportRequest:
    """Checks parsed flags and converts them to a request.

    Raises:
        InvalidInput: flags contradict each other or are out of range, there is no such
            run, or the report cannot be written.
    """
    run, model = evaluation_flags.parse_model(values)
    out_dir = None
    if values.out_dir is not None:
        out_dir = parsing.parse_path("out_dir", values.out_dir)
    request = ReportRequest(
        run=run,
        model=model,
        checkpoint=values.checkpoint,
        options=evaluation_flags.parse_options(values, run),
        given_dir=out_dir,
        corruptions=values.corruptions,
        corruption_sample=values.corruption_sample,
        no_class_data=values.no_class_data,
    )
    request.check_folder()
    return request


def main(values: flags.FlagValues) -> None:
    """Evaluates, writes the report and prints where it is."""
    request = parse_request(values)
    with native_output.loading_libraries():
        from eval.reports import report_builder
    page = request.out_dir / output_folder.REPORT_PAGE
    replaces, say = page.exists(), functools.partial(print_translated, values)
    report = report_builder.write_report(request, say)
    print(report_builder.summary(report))
    print("in place of an older report:\n" * replaces, page, sep="")


def _model_files(argv: list[str]) -> list[str]:
    """Returns the value of --model; none if `argv` is wrong usage."""
    values = define(flags.FlagValues())
    with contextlib.suppress(InvalidInput):
        cli_command.parse(values, argv)
        return [values.model] if values.model else []
    return []


def command() -> NoReturn:
    """Runs the command with the words of the command line."""
    values = define(flags.FlagValues())
    cli_command.run(
        "eval.report",
        "Evaluates a run or a model file on its test split; writes a report.",
        values,
        lambda: main(values),
    )


def run() -> NoReturn:
    """Runs the command, in a second process if it opens a model file."""
    sandbox.run_supervised("eval.report", command, _model_files(sys.argv))


if __name__ == "__main__":
    run()
