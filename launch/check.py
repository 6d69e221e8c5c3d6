"""Asks the trainer whether it would take its flags, before a job waits or writes."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

from launch.commandline import HELP

MODULE = "trainer.check"


def refused(arguments: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """The exit code of a job that does not start; None if it may.

    The trainer's own words have been shown: what is wrong, or its help.

    Args:
      arguments: the trainer's flags.
      environment: with TF_CONFIG.
    """
    command = [sys.executable, "-m", MODULE, *arguments]
    code = subprocess.run(command, env=dict(environment), check=False).returncode
    return code if code or HELP.intersection(arguments) else None
