"""Prints a batch script for SLURM."""

import pathlib
import re
import shlex
import string
import sys
from collections.abc import Sequence

from absl import flags

from launch import cli
from launch.platforms import job_spec
from launch.platforms.job_spec import Job
from launch.trainer_command import TrainerCommand, for_scheduler

USAGE = """launch.slurm: prints a batch script for SLURM.

    python -m launch.slurm --name=NAME --workers=4 --time=8:00:00 \\
        --setup='source .venv/bin/activate' [flags] -- TRAINER FLAGS | sbatch

One worker a node. Before the time is up SLURM sends SIGUSR1: the workers save, and the
job is queued again. A lost peer or a death by a signal starts all workers again.
"""

LEFT_BEHIND_SECS = 1_800  # the chief may still evaluate when the others are done
SAVE_MARGIN_SECS = 60  # on top of the trainer's grace; SLURM looks once in a while

_TEMPLATE = pathlib.Path(__file__).parent / "platforms" / "templates" / "slurm.sh"
# sbatch: minutes, h:m:s, days-h:m:s
_TIME = r"([0-9]+-)?[0-9]{1,2}(:[0-9]{2}){0,2}|[0-9]+"
_WORD = r"[A-Za-z0-9_.,-]+"


def define(values: flags.FlagValues) -> None:
    """Declares this command's flags."""
    job_spec.define(values)
    job_spec.define_restarts(values)
    place = {"flag_values": values, "module_name": "Job"}
    flags.DEFINE_string("time", None, "Limit, as sbatch takes it: 8:00:00.", **place)
    flags.DEFINE_string("partition", None, "Where to queue.", **place)
    flags.DEFINE_string("account", None, "Who pays.", **place)
    container = {"flag_values": values, "module_name": "Container"}
    flags.DEFINE_multi_string(
        "volume",
        [],
        "SOURCE:/PATH, mounted into --image; may be repeated.",
        **container,
    )
    flags.DEFINE_multi_string(
        "setup", [], "A line of shell to run first; may be repeated.", **container
    )
    resources = {"flag_values": values, "module_name": "Resources"}
    flags.DEFINE_integer(
        "cpus", None, "Cores of each worker.", lower_bound=1, **resources
    )
    flags.DEFINE_string("memory", None, "Of each worker, e.g. 16G.", **resources)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the script."""
    return cli.run(USAGE, define, _print, arguments)


def _print(values: flags.FlagValues, trainer_flags: list[str]) -> int:
    print(script(values, trainer_flags), end="")
    return 0


def script(values: flags.FlagValues, trainer_flags: list[str]) -> str:
    """The batch script; https://slurm.schedmd.com/sbatch.html.

    Raises:
      UsageError: a flag is missing or not of its form.
    """
    wanted = job_spec.read(values, needs_image=False)
    training = for_scheduler(
        trainer_flags, default_run_dir=f"runs/{wanted.name}", threads=values.cpus
    )
    exports = [
        f"export {name}={shlex.quote(value)}"
        for name, value in wanted.environment.items()
    ]
    for line in values.setup:
        if not line.strip():
            raise cli.UsageError("--setup is empty; leave it out")
    return string.Template(_TEMPLATE.read_text()).substitute(
        directives="\n".join(_directives(values, wanted, training)),
        setup="\n".join([*exports, *values.setup]),
        srun=" \\\n    ".join(_srun(values, wanted, training)),
        max_restarts=wanted.max_restarts,
    )


def _directives(
    values: flags.FlagValues, wanted: Job, training: TrainerCommand
) -> list[str]:
    options = {
        "job-name": wanted.name,
        "nodes": wanted.workers,
        "ntasks-per-node": 1,
        "cpus-per-task": values.cpus,
        "mem": _checked(values, "memory", r"[1-9][0-9]*[KMGT]?"),
        "gpus-per-node": wanted.gpus or None,
        "time": _checked(values, "time", _TIME),
        "partition": _checked(values, "partition", _WORD),
        "account": _checked(values, "account", _WORD),
        "signal": f"USR1@{training.grace_secs + SAVE_MARGIN_SECS}",
        "output": "%x-%j.log",
    }
    return [
        *(f"#SBATCH --{key}={value}" for key, value in options.items() if value),
        "#SBATCH --open-mode=append",  # a job that is queued again keeps its log
        "#SBATCH --requeue",
    ]


def _srun(values: flags.FlagValues, wanted: Job, training: TrainerCommand) -> list[str]:
    """Arguments of srun, one a line.

    Whoever leaves first must not end the others, who may still be saving; --wait ends
    those that hang.
    """
    options = [
        "--distribution=block",
        "--kill-on-bad-exit=0",
        f"--wait={LEFT_BEHIND_SECS}",
    ]
    if values.cpus:
        options.append(f"--cpus-per-task={values.cpus}")  # sbatch's is not inherited
    if values.volume and wanted.image is None:
        raise cli.UsageError("--volume needs --image; nodes share their disks")
    if wanted.image is not None:
        options.append(f"--container-image={shlex.quote(wanted.image)}")
    mounts = [
        ":".join(
            job_spec.fields(
                text, "volume", "SOURCE:/PATH", [r"/[^\s:,]+", r"/[^\s:,]+"]
            )
        )
        for text in values.volume
    ]
    if mounts:
        options.append(f"--container-mounts={shlex.quote(','.join(mounts))}")
    return [
        *options,
        shlex.join(job_spec.COMMAND),
        *map(shlex.quote, training.arguments),
    ]


def _checked(values: flags.FlagValues, name: str, form: str) -> str | None:
    value = values[name].value
    if value is not None and not re.fullmatch(form, value):
        raise cli.UsageError(f"--{name}={value} is not what sbatch takes")
    return value


if __name__ == "__main__":
    sys.exit(main())
