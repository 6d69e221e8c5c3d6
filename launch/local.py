"""Runs one job of several workers on this machine, supervised."""

import dataclasses
import os
import sys
from collections.abc import Sequence

from absl import flags

from launch import command_line, flag_checks, trainer_command
from launch.supervisor import resources
from launch.supervisor.job_supervisor import JobPlan, Supervisor
from launch.trainer_command import TrainerCommand, local_run_dir
from trainer.contract import TF_CONFIG, ClusterSpec, format_time

USAGE = """launch.local: one job of several workers on this machine, supervised.

    python -m launch.local --workers=2 [flags] -- TRAINER FLAGS

Prepares the data set, starts the workers with their own ports, cores and GPUs, and
shows their output. When one dies or gets stuck, it is named and all are started again
from the last checkpoint. Signals are passed on; the exit code is the job's.
"""

MAX_WORKERS = 64


def define(values: flags.FlagValues) -> None:
    """Declares this command's flags."""
    flags.DEFINE_integer(
        "workers",
        2,
        "Processes; the global batch is divided among them.",
        lower_bound=1,
        upper_bound=MAX_WORKERS,
        flag_values=values,
        module_name="Workers",
    )
    flags.DEFINE_integer(
        "cores_per_worker",
        None,
        "CPU cores of each worker; without it all cores are divided evenly.",
        lower_bound=1,
        flag_values=values,
        module_name="Workers",
    )
    flags.DEFINE_integer(
        "max_restarts",
        3,
        "How often the whole group may be started again.",
        lower_bound=0,
        flag_values=values,
        module_name="Faults",
    )
    flags.DEFINE_float(
        "hang_secs",
        300.0,
        "A worker is stuck after so many seconds without any progress; compiling is "
        "one step here.",
        lower_bound=1.0,
        flag_values=values,
        module_name="Faults",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the job and returns its exit code."""
    return command_line.run(USAGE, define, _supervise, arguments, prints=False)


def _supervise(values: flags.FlagValues, trainer_flags: list[str]) -> int:
    time = format_time()
    if command_line.HELP_FLAGS.intersection(trainer_flags):
        return flag_checks.find_refusal(trainer_flags, os.environ) or 0
    trainer = TrainerCommand.from_flags(
        trainer_flags, default_run_dir=local_run_dir(trainer_flags, time=time)
    )
    path = trainer_command.absolute_run_dir(trainer.run_dir)
    plan = JobPlan(
        trainer=dataclasses.replace(trainer, run_dir=path),
        cores=resources.divide_cores(values.workers, values.cores_per_worker),
        gpus=resources.divide_gpus(values.workers),
        max_restarts=values.max_restarts,
        hang_secs=values.hang_secs,
        **({"prepare": None, "writes": False} if trainer.dry_run else {}),
    )
    trainer_command.check_run_dir(path)
    alone = ClusterSpec(workers=("127.0.0.1:1",), index=0)
    environment = {**os.environ, TF_CONFIG: alone.to_json()}
    code = flag_checks.find_refusal(plan.trainer.arguments, environment)
    return Supervisor(plan).run() if code is None else code


if __name__ == "__main__":
    sys.exit(main())
