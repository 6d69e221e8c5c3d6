"""Monitor: how a process reports its progress."""

import dataclasses

from trainer.distributed.heartbeat import Heartbeat
from trainer.monitoring.progress import PhaseTimer, Progress


@dataclasses.dataclass(frozen=True)
class Monitor:
    """The three ways in which a process reports its progress.

    Attributes:
        timer: seconds by phase, for result.json.
        progress: the line on the terminal, for the user.
        heartbeat: the heartbeat file, for the other workers and the launcher.
    """

    timer: PhaseTimer
    progress: Progress
    heartbeat: Heartbeat

    def say(self, message: str) -> None:
        """Shows a message on a line of its own."""
        self.progress.say(message)
