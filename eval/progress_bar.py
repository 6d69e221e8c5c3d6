"""How far answering is: one live line, or in a pipe a line every few seconds."""

from trainer.monitoring.progress import CONSOLE

progress_bar = CONSOLE.count


def no_progress(_: int) -> None:
    """A Tick that shows nothing."""
