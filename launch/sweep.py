"""Runs a study: many trials of trainer.main over flags and seeds, and one table."""

import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from launch import command_line, flag_checks, trainer_command
from launch.command_line import UsageError
from launch.study import study_definition
from launch.supervisor import resources
from trainer.contract import format_time

USAGE = """launch.sweep: many trainings over flags and seeds, and one honest table.

    python -m launch.sweep --study_dir=DIR --trials=24 \\
        --try learning_rate=log:1e-4:1e-1 --try model_kwargs.width=0.5,1 [flags] \\
        -- TRAINER FLAGS
    python -m launch.sweep --study_dir=DIR            (goes on where it was killed)
    python -m launch.sweep --study_dir=DIR --finish --seeds=5

Trials are ordinary runs in DIR/trials, compared by validation rows; they never read
the test split. DIR/trials.json, trials.csv and study.html have the table. --finish
tests the winner, once. docs/sweep.md has the rest.
"""

MAX_WORKERS = 64
MAX_SEED = 2**31 - 1


def define(values: flags.FlagValues) -> None:
    """Declares this command's flags."""
    _define_space(values)
    _define_search(values)
    _define_pruning(values)
    _define_storage(values)
    _define_workers(values)
    _define_run(values)
    _define_finish(values)


def _define_space(values: flags.FlagValues) -> None:
    where = {"flag_values": values, "module_name": "Study"}
    flags.DEFINE_string(
        "study_dir", None, "Its directory. Default: runs/<time>-sweep.", **where
    )
    flags.DEFINE_multi_string(
        "try",
        [],
        "A flag and its values: NAME=log:LOW:HIGH, float:LOW:HIGH, "
        "int:LOW:HIGH[:STEP], logint:LOW:HIGH, each perhaps with /POINTS for a grid, "
        "or NAME=VALUE,VALUE. Given again it adds one.",
        **where,
    )
    flags.DEFINE_string(
        "space", None, "TOML file of flags and their values, beside --try.", **where
    )
    flags.DEFINE_integer(
        "trials",
        None,
        "Number of trainings; a grid knows its own.",
        lower_bound=1,
        **where,
    )
    flags.DEFINE_integer(
        "seeds",
        None,
        "Trials of each configuration. Default: 1.",
        lower_bound=1,
        upper_bound=study_definition.MAX_SEEDS,
        **where,
    )
    flags.DEFINE_string(
        "objective",
        "accuracy",
        "What is compared, separated by commas: accuracy (validation), seconds, "
        "int8_bytes, latency. The first one ranks.",
        **where,
    )


def _define_search(values: flags.FlagValues) -> None:
    where = {"flag_values": values, "module_name": "Search"}
    flags.DEFINE_enum(
        "sampler",
        None,
        study_definition.SAMPLERS,
        "Who chooses: grid (all), random, tpe or cmaes. Default: grid, with --trials "
        "random.",
        **where,
    )
    flags.DEFINE_integer(
        "study_seed",
        0,
        "Seed of the sampler.",
        lower_bound=0,
        upper_bound=MAX_SEED,
        **where,
    )
    flags.DEFINE_integer(
        "concurrent",
        None,
        "tpe, cmaes and median: how many configurations may be under way when one is "
        "chosen. Part of the study. Default: as --workers need.",
        lower_bound=1,
        upper_bound=MAX_WORKERS,
        **where,
    )


def _define_pruning(values: flags.FlagValues) -> None:
    where = {"flag_values": values, "module_name": "Search"}
    flags.DEFINE_enum(
        "pruner",
        "none",
        study_definition.PRUNERS,
        "Who ends bad trials early: none, median or halving (successive halving).",
        **where,
    )
    flags.DEFINE_integer(
        "halving_factor",
        3,
        "Of so many configurations one goes on, for so many times the training.",
        lower_bound=2,
        upper_bound=10,
        **where,
    )


def _define_storage(values: flags.FlagValues) -> None:
    where = {"flag_values": values, "module_name": "Storage"}
    flags.DEFINE_string(
        "storage",
        None,
        "Optuna's storage: a URL of SQLAlchemy, or journal:///FILE. Default: "
        "<study_dir>/study.db.",
        **where,
    )
    flags.DEFINE_string(
        "study_name", None, "Its name there. Default: that of --study_dir.", **where
    )


def _define_run(values: flags.FlagValues) -> None:
    flags.DEFINE_bool(
        "run",
        True,
        "Work on the trials; --norun checks and writes study.json only, for others.",
        flag_values=values,
        module_name="Workers",
    )


def _define_workers(values: flags.FlagValues) -> None:
    where = {"flag_values": values, "module_name": "Workers"}
    flags.DEFINE_integer(
        "workers",
        1,
        "Trials at the same time; GPUs are divided among them.",
        lower_bound=1,
        upper_bound=MAX_WORKERS,
        **where,
    )
    flags.DEFINE_integer(
        "cores_per_trial",
        None,
        "CPU cores of each trial; without it all cores are divided evenly.",
        lower_bound=1,
        **where,
    )
    flags.DEFINE_integer(
        "max_restarts",
        3,
        "How often a trial that dies may be started again without having made "
        "progress.",
        lower_bound=0,
        **where,
    )
    flags.DEFINE_float(
        "hang_secs",
        300.0,
        "A trial is stuck after so many seconds without progress.",
        lower_bound=1.0,
        **where,
    )


def _define_finish(values: flags.FlagValues) -> None:
    where = {"flag_values": values, "module_name": "Finish"}
    flags.DEFINE_bool(
        "finish",
        False,
        "Tests the winner of a study that is over: its first trial, or with --seeds=N "
        "that many new trainings of it.",
        **where,
    )
    flags.DEFINE_bool(
        "all_rows",
        False,
        "With --finish --seeds=N: trains on the validation rows, too.",
        **where,
    )
    flags.DEFINE_integer(
        "choose",
        None,
        "With --finish: a configuration instead of the winner.",
        lower_bound=0,
        **where,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Works on the study and returns the exit code."""
    return command_line.run(USAGE, define, _sweep, arguments, prints=False)


def _sweep(values: flags.FlagValues, trainer_flags: list[str]) -> int:
    if command_line.HELP_FLAGS.intersection(trainer_flags):
        return flag_checks.find_refusal(trainer_flags, os.environ) or 0
    given = values.study_dir
    if given is None:
        given = f"runs/{format_time()}-sweep"
    if not given:
        raise UsageError("--study_dir is empty; name a directory")
    study_dir = trainer_command.absolute_run_dir(given, flag="study_dir")
    if values.run:
        cores = resources.divide_cores(
            values.workers, values.cores_per_trial, flag="cores_per_trial"
        )
        gpus = resources.divide_gpus(values.workers)
    else:  # the machines that will work on it may be larger
        cores = [list(range(values.cores_per_trial or os.cpu_count() or 1))]
        gpus = [[]]
    from launch.study import study_command

    return study_command.carry_out(
        values, trainer_flags, pathlib.Path(study_dir), (cores, gpus)
    )


if __name__ == "__main__":
    sys.exit(main())
