"""The log of metrics, metrics.jsonl: one JSON object per line, in the order of steps.

A line is {"version": 1, "step", "epoch", "split", "loss", "accuracy"}; a train line has
"learning_rate", "gradient_norm" and "images_per_second" as well, and its loss, accuracy
and norm are means over the steps since the previous train line; a validation line has
"eval_tta", the test-time augmentation it was measured with.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any

from trainer import files
from trainer.rundir.durable_log import DurableLog

VERSION = 1


class MetricsLog:
    """Appends lines to metrics.jsonl; each is given to the operating system at once."""

    def __init__(self, path: pathlib.Path, say: Callable[[str], None]) -> None:
        self._journal = DurableLog(path, say)

    def write(self, step: int, epoch: float, split: str, **values: Any) -> None:
        """Appends a line."""
        line = {"version": VERSION, "step": step, "epoch": round(epoch, 6)}
        line |= {"split": split, **values}
        self._journal.add((json.dumps(line, allow_nan=False) + "\n").encode())

    def sync(self) -> None:
        """Flushes all lines to the disk; raises OSError if that is impossible."""
        self._journal.sync()


def truncate_after(
    path: pathlib.Path, step: int, say: Callable[[str], None] = print
) -> None:
    """Removes lines of steps after `step`, an incomplete last line, and damaged lines.

    A damaged line may belong to an earlier step, whose line is never written again, so
    `say` receives a message. With `step` 0 every line is removed and none is reported.
    """
    if not path.exists():
        return
    kept, damaged, at = [], [], 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            end, found = at + len(line), _step(line)
            if not line.endswith(b"\n"):
                break  # torn
            if found is None:
                damaged.append(number)
            elif found <= step:
                start = kept.pop()[0] if kept and kept[-1][1] == at else at
                kept.append((start, end))
            at = end
    files.keep_ranges(path, kept)
    if damaged and step:
        say(
            f"removed {len(damaged)} damaged lines of {path}, the first at line "
            f"{damaged[0]}"
        )


def _step(line: bytes) -> int | None:
    """Parses the step of a line; None if the line is damaged."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if type(step) is int else None
