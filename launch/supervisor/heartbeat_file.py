"""The trainer's sign of progress, read from outside.

The trainer replaces the file named by TRAINER_HEARTBEAT_FILE whenever it gets on:
{"step": 1200, "phase": "train", "time": unix seconds}, phases as in trainer/heartbeat.
"""

import dataclasses
import os
import pathlib

from trainer.contract import read_sign

_LARGEST = 1 << 20  # bytes of a sign, which has some hundred


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
            with open(self.path, "rb", opener=_at_once) as file:
                content = file.read(_LARGEST) or b""
        except OSError:
            return
        found = read_sign(content)
        if found is not None and content != self._content:
            self._content, self.changed_secs = content, now
            self.step, self.phase = found["step"], found["phase"]


def _at_once(path: str, flags: int) -> int:
    """Opens without waiting: a pipe may stand in the place of the file."""
    return os.open(path, flags | os.O_NONBLOCK)
