"""The trainer's sign of progress, read from outside.

The trainer replaces the file named by TRAINER_HEARTBEAT_FILE whenever it gets on:
{"step": 1200, "phase": "train", "time": unix seconds}, phases as in trainer/heartbeat.
"""

import dataclasses
import pathlib

from trainer.contract import read_sign


@dataclasses.dataclass
class Heartbeat:
    """One worker's file, and when its content last changed (in seconds of a clock)."""

    path: pathlib.Path
    changed_secs: float
    step: int | None = None
    phase: str = "start"
    _content: bytes = b""

    def read(self, now: float) -> None:
        """Looks again; a missing or half file is no change."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return
        found = read_sign(content)
        if found is not None and content != self._content:
            self._content, self.changed_secs = content, now
            self.step, self.phase = found["step"], found["phase"]
