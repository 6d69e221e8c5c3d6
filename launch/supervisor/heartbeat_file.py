"""Reads the heartbeat file of a worker.

The trainer replaces the file named by TRAINER_HEARTBEAT_FILE whenever it makes
progress: {"step": 1200, "phase": "train", "time": unix seconds}; `Heartbeat` lists the
phases.
"""

import dataclasses
import os
import pathlib

from trainer.contract import decode_heartbeat

_MAX_BYTES = 1 << 20  # a heartbeat has about a hundred


@dataclasses.dataclass
class HeartbeatFile:
    """Heartbeat of one worker: its file, and when its content last changed."""

    path: pathlib.Path
    changed_secs: float
    step: int | None = None
    phase: str = "start"
    _content: bytes = b""

    def refresh(self, now: float) -> None:
        """Reads the file again; a missing or incomplete file counts as unchanged."""
        try:
            with open(self.path, "rb", opener=_open_without_waiting) as file:
                content = file.read(_MAX_BYTES) or b""
        except OSError:
            return
        found = decode_heartbeat(content)
        if found is not None and content != self._content:
            self._content, self.changed_secs = content, now
            self.step, self.phase = found["step"], found["phase"]


def _open_without_waiting(path: str, flags: int) -> int:
    """Opens a file without blocking, in case it is a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
