"""Checks the flags of a training as trainer.main does, without starting it.

Synopsis::

    python -m trainer.check --dataset=digits --epochs=3

Launchers run it before they prepare data or wait for peers: wrong flags are reported
within a second, with the messages of trainer.main, and nothing is written.
"""

from trainer import main
from trainer.cli import command, flags
from trainer.rundir import checks


def check_flags() -> None:
    """Raises InvalidInput as trainer.main does before it imports TensorFlow."""
    checks.select_run(*flags.read_configs())


if __name__ == "__main__":
    command.run(
        "trainer.main", main.SUMMARY, flags.define(), check_flags, renamed=flags.RENAMED
    )
