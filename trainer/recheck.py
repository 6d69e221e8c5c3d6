"""Replays steps of a run: python -m trainer.recheck --run_dir=runs/demo."""

from typing import NoReturn

from absl import flags

from trainer.cli import command
from trainer.errors import InvalidInput
from trainer.monitoring import native_output
from trainer.rundir import layout

SUMMARY = "Replays a run's steps between kept checkpoints and compares the hashes."


def _define(values: flags.FlagValues) -> flags.FlagValues:
    where = {"flag_values": values, "module_name": "Run"}
    flags.DEFINE_string("run_dir", None, "The run. Default: runs/latest.", **where)
    flags.DEFINE_string(
        "data_dir", None, "Where its TFDS data set is. Default: where it was.", **where
    )
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **where)
    return values


def main(values: flags.FlagValues) -> None:
    """Replays the run and prints the result."""
    run = layout.open_run(values.run_dir)
    with native_output.loading_libraries():
        from trainer.training import replay
    try:
        print(replay.replay(run, values.data_dir))
    except ValueError as error:
        raise InvalidInput(str(error)) from error


def run() -> NoReturn:
    """Runs the command with the arguments of this process."""
    values = _define(flags.FlagValues())
    command.run("trainer.recheck", SUMMARY, values, lambda: main(values))


if __name__ == "__main__":
    run()
