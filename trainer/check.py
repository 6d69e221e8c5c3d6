"""Checks a training's flags as trainer.main does, without starting anything.

Synopsis::

    python -m trainer.check --dataset=digits --epochs=3

Launchers ask before they prepare data or wait for peers: what is wrong is found within
a second, is told in trainer.main's words, and leaves nothing.
"""

from trainer import main
from trainer.cli import command, flags
from trainer.rundir import checks


def check() -> None:
    """Raises InvalidInput where trainer.main would, before TensorFlow is imported."""
    checks.select_run(*flags.read_configs())


if __name__ == "__main__":
    command.run(
        "trainer.main", main.SUMMARY, flags.define(), check, renamed=flags.RENAMED
    )
