"""Checks the flags of a training as trainer.main does, without starting it.

Synopsis::

    python -m trainer.cli.check --dataset=digits --epochs=3

Launchers run it before they prepare data or wait for peers: wrong flags are reported
within a second, with the messages of trainer.main, and nothing is written.
"""

from trainer.cli import command, early_checks, flags
from trainer.rundir import checks


def check_flags() -> None:
    """Raises InvalidInput as trainer.main does before it imports TensorFlow."""
    config, run_config = flags.read_configs()
    run = checks.select_run(config, run_config)
    if run.result() is None:
        early_checks.check_training(config, run_config, new=not run.exists)


if __name__ == "__main__":
    command.run(
        flags.COMMAND, flags.SUMMARY, flags.define(), check_flags, renamed=flags.RENAMED
    )
