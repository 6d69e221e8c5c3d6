"""Monitor: how long work tells where it is."""

import dataclasses

from trainer.distributed.heartbeat import Heartbeat
from trainer.monitoring.progress import PhaseTimer, Progress


@dataclasses.dataclass(frozen=True)
class Monitor:
    """The three ways in which one process tells how far it is.

    Attributes:
        timer: seconds by phase, for result.json.
        progress: the line on the terminal, for whoever watches.
        heartbeat: the sign of life, for the other workers and the launcher.
    """

    timer: PhaseTimer
    progress: Progress
    heartbeat: Heartbeat

    def say(self, message: str) -> None:
        """Shows a message on a line of its own."""
        self.progress.say(message)
