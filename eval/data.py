"""Inspects the images of a data set before a training.

Synopsis::

    python -m eval.data --image_dir=photos  # -> inspection/data.html, data.json
    python -m eval.data --run_dir=runs/mine  # also likely label errors
    python -m eval.data --image_list=table.csv --strict  # exits 1 if a split leaks
"""

import functools
from typing import NoReturn

from absl import flags

from eval import evaluation_flags
from eval.inspection.inspection_request import PAGE, InspectionRequest
from trainer.cli import command as cli_command
from trainer.config import parsing
from trainer.contract import EXIT_FAILED
from trainer.rundir import finished, layout


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    evaluation_flags.define_images(values, "Images")
    run = {"flag_values": values, "module_name": "Run"}
    flags.DEFINE_string(
        "run_dir",
        None,
        "A finished run: its own images are inspected, split as they were, and likely"
        " label errors are found by what it says of images that it did not see.",
        **run,
    )
    out = {"flag_values": values, "module_name": "Output"}
    flags.DEFINE_string(
        "out_dir",
        None,
        "Where the page goes. Default: inspection/, or that folder in the run.",
        **out,
    )
    flags.DEFINE_bool(
        "strict",
        False,
        "Exits with 1 if images of one split are in another, or nothing can be learnt"
        " from them, as of an empty class.",
        **out,
    )
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **out)
    return values


def parse_request(values: flags.FlagValues) -> InspectionRequest:
    """Checks parsed flags and converts them to a request.

    Raises:
        InvalidInput: flags contradict each other, nothing is named, or the folder
            cannot be written.
    """
    out, run_dir = values.out_dir, values.run_dir
    run = None if run_dir is None else layout.open_run(run_dir)
    if run is not None:
        finished.check_finished(run)
    request = InspectionRequest(
        images=evaluation_flags.parse_images(values, run),
        run=run,
        given_dir=None if out is None else parsing.parse_path("out_dir", out),
    )
    request.check_folder()
    return request


def main(values: flags.FlagValues) -> int:
    """Inspects, prints the findings and where the page is; returns the exit code."""
    request = parse_request(values)
    from eval.inspection import inspection_run

    page = request.out_dir / PAGE
    replaces = page.exists()
    say = functools.partial(evaluation_flags.print_translated, values)
    found = inspection_run.inspect(request, say)
    print("\n".join(inspection_run.summary_lines(found)))
    print("in place of an older page:\n" * replaces, page, sep="")
    leaks = found["leaks"]["exact"] + found["leaks"]["near"]
    wrong = leaks or found["data"]["problems"]
    return EXIT_FAILED if values.strict and wrong else 0


def run() -> NoReturn:
    """Runs the command with the words of the command line."""
    values = define(flags.FlagValues())
    cli_command.run(
        "eval.data",
        "Inspects the images of a data set: broken, odd and duplicate files, leaks"
        " between splits, likely label errors.",
        values,
        lambda: main(values),
    )


if __name__ == "__main__":
    run()
