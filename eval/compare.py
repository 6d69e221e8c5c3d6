"""Compares runs, model files or studies on the same images, with significance.

Synopsis::

    python -m eval.compare runs/a runs/b
    python -m eval.compare runs/a runs/a/export/model_int8.tflite --out_dir=int8
    python -m eval.compare runs/a-sweep runs/b-sweep  # the best of each, all its seeds
"""

import contextlib
import functools
import os
import pathlib
import sys
from typing import NoReturn

from absl import flags

from eval import evaluation_flags
from eval.evaluation_flags import print_translated
from eval.predictors import sandbox
from eval.reports import output_folder, requests
from eval.reports.requests import ComparisonRequest
from eval.studies import seed_groups
from trainer.cli import command as cli_command
from trainer.config import parsing
from trainer.errors import InvalidInput
from trainer.monitoring import native_output
from trainer.rundir import finished, layout
from trainer.rundir.layout import Run

WORDS = "A B ..."


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    evaluation_flags.define(values)
    out = {"flag_values": values, "module_name": "Comparison"}
    flags.DEFINE_string("out_dir", requests.COMPARISON, "Where the files go.", **out)
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **out)
    return values


def parse_request(values: flags.FlagValues, words: list[str]) -> ComparisonRequest:
    """Checks parsed flags and converts them, and the `words`, to a request.

    Raises:
        InvalidInput: fewer than two words, flags that contradict each other, or a
            folder that cannot be written.
    """
    given = values["out_dir"].present
    request = ComparisonRequest(
        models=tuple(words),
        options=evaluation_flags.parse_options(values),
        given_dir=parsing.parse_path("out_dir", values.out_dir) if given else None,
    )
    for word in words:
        if seed_groups.is_group(word):
            continue
        path = evaluation_flags.check_exists(word)
        if Run(path).exists:
            finished.check_finished(layout.open_run(str(path)))
    request.check_folder()
    return request


def main(values: flags.FlagValues, words: list[str]) -> None:
    """Compares the models in `words` with the first of them; writes the comparison."""
    request = parse_request(values, words)
    with native_output.loading_libraries():
        from eval.studies import group_comparison
    page = request.out_dir / output_folder.COMPARISON_PAGE
    replaces, say = page.exists(), functools.partial(print_translated, values)
    found = group_comparison.write_comparison(request, say)
    print("\n".join(group_comparison.summary_lines(found)))
    print("in place of an older comparison:\n" * replaces, page, sep="")


def _model_files(argv: list[str]) -> list[str]:
    """Returns the arguments that are not runs; none if `argv` is wrong usage."""
    with contextlib.suppress(InvalidInput):
        words = cli_command.parse(define(flags.FlagValues()), argv, WORDS)
        return [w for w in words if not _is_run(w) and not seed_groups.is_group(w)]
    return []


def _is_run(word: str) -> bool:
    return Run(pathlib.Path(os.path.expanduser(word))).exists


def command() -> NoReturn:
    """Runs the command with the arguments of the command line."""
    values = define(flags.FlagValues())
    cli_command.run(
        "eval.compare",
        "Compares runs, model files or studies with the first, on the same images.",
        values,
        lambda words: main(values, words),
        words=WORDS,
    )


def run() -> NoReturn:
    """Runs the command, in a second process if it opens model files."""
    sandbox.run_supervised("eval.compare", command, _model_files(sys.argv))


if __name__ == "__main__":
    run()
