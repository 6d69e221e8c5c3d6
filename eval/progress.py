"""How far answering is: one live line, or in a pipe a line every few seconds."""

from trainer.progress import CONSOLE, Tick

__all__ = ["CONSOLE", "Tick", "bar", "silent"]

bar = CONSOLE.count


def silent(_: int) -> None:
    """A Tick that shows nothing."""
