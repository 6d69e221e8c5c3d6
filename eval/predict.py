"""Classifies image files by a run, a SavedModel or a .tflite.

Synopsis::

    python -m eval.predict photo.jpg holiday/  # by runs/latest
    python -m eval.predict --model=model.tflite --format=csv photos/ > answers.csv
    find . -name '*.jpg' -print0 | python -m eval.predict -
"""

import contextlib
import functools
import sys
from typing import NoReturn

from absl import flags

from eval import evaluation_flags
from eval.prediction.prediction_request import PredictionRequest, RecordFormat
from eval.predictors import sandbox
from trainer.cli import command as cli_command
from trainer.config import parsing
from trainer.config.enums import Resize
from trainer.contract import EXIT_FAILED
from trainer.errors import InvalidInput
from trainer.monitoring import native_output

WORDS = "PATH ..."


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    evaluation_flags.define_model(values, "Model")
    _define_pixels(values)
    out = {"flag_values": values, "module_name": "Answers"}
    flags.DEFINE_enum_class(
        "format",
        RecordFormat.TABLE,
        RecordFormat,
        "On stdout; csv and jsonl: records and nothing else.",
        **out,
    )
    flags.DEFINE_integer(
        "top_k", 3, "Likeliest classes of a file.", lower_bound=1, **out
    )
    flags.DEFINE_float(
        "abstain",
        None,
        "Says unknown where the answer is too uncertain for this share of the given"
        " answers to be right: 0.9, 0.95 or 0.99; of a run any value.",
        **out,
    )
    flags.DEFINE_string(
        "grid",
        None,
        "A PNG to write with at most 64 of the files and their answers.",
        **out,
    )
    evaluation_flags.define_file_options(values)
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **out)
    return values


def _define_pixels(values: flags.FlagValues) -> None:
    where = {"flag_values": values, "module_name": "Pixels"}
    flags.DEFINE_enum(
        "resize",
        None,
        [member.value for member in Resize],
        "What happens to images of another shape. Default: what the model was"
        " trained with, else crop.",
        **where,
    )
    flags.DEFINE_string(
        "image_size",
        None,
        "A side or HEIGHTxWIDTH, for a file that takes any. Default: its own.",
        **where,
    )


def parse_request(values: flags.FlagValues, words: list[str]) -> PredictionRequest:
    """Checks parsed flags and converts them, and the `words`, to a request.

    Raises:
        InvalidInput: flags contradict each other, there is no such run, or no path.
    """
    run, model = evaluation_flags.parse_model(values)
    if not words and not _is_terminal():
        words = ["-"]
    size, grid = values.image_size, values.grid
    return PredictionRequest(
        run=run,
        model=model,
        paths=tuple(words),
        checkpoint=values.checkpoint,
        options=evaluation_flags.parse_file_options(values),
        resize=values.resize and Resize(values.resize),
        image_size=size and parsing.parse_image_size("image_size", size),
        kind=values.format,
        top_k=values.top_k,
        grid=grid and parsing.parse_path("grid", grid),
        abstain=values.abstain,
    )


def _is_terminal() -> bool:
    return sys.stdin is None or sys.stdin.isatty()


def main(values: flags.FlagValues, words: list[str]) -> int:
    """Classifies what `words` name; returns the exit code."""
    request = parse_request(values, words)
    with native_output.loading_libraries():
        from eval.prediction import prediction_run
    say = functools.partial(evaluation_flags.print_translated, values)
    return 0 if prediction_run.predict(request, sys.stdout, say) else EXIT_FAILED


def _model_files(argv: list[str]) -> list[str]:
    """Returns the value of --model; none if `argv` is wrong usage."""
    values = define(flags.FlagValues())
    with contextlib.suppress(InvalidInput):
        cli_command.parse(values, argv, WORDS)
        return [values.model] if values.model else []
    return []


def command() -> NoReturn:
    """Runs the command with the words of the command line."""
    values = define(flags.FlagValues())
    cli_command.run(
        "eval.predict",
        "Classifies image files by a run or a model file. Folders are walked; without a"
        " PATH, or for -, paths come from stdin.",
        values,
        lambda words: main(values, words),
        words=WORDS,
    )


def run() -> NoReturn:
    """Runs the command, in a second process if it opens a model file."""
    sandbox.run_supervised("eval.predict", command, _model_files(sys.argv))


if __name__ == "__main__":
    run()
