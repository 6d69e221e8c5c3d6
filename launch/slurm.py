"""Prints a batch script for SLURM."""

import sys
from collections.abc import Sequence

from absl import flags

from launch import command_line
from launch.platforms import platform_registry, slurm

USAGE = """launch.slurm: prints a batch script for SLURM.

    python -m launch.slurm --name=NAME --workers=4 --time=8:00:00 \\
        --setup='source .venv/bin/activate' [flags] -- TRAINER FLAGS | sbatch

One worker per node. Before the time is up SLURM sends SIGUSR1: the workers save, and
the job is queued again. A lost peer or a death by a signal starts all workers again.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the script."""
    return command_line.run(USAGE, slurm.define, _print_script, arguments)


def _print_script(values: flags.FlagValues, trainer_flags: list[str]) -> int:
    script = slurm.build_script(values, trainer_flags)
    platform_registry.check_environment(values.env)
    print(script, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
