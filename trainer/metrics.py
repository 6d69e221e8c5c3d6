"""metrics.jsonl: one JSON object a line, in the order of steps.

A line is {"version": 1, "step", "epoch", "split", "loss", "accuracy"}; a train line has
"learning_rate", "gradient_norm" and "images_per_second" as well, and its loss, accuracy
and norm are means over the steps since the line before.
"""

import json
import pathlib
from typing import Any

from trainer import files

VERSION = 1


class Metrics:
    """Appends lines to the file; each is handed to the operating system at once."""

    def __init__(self, path: pathlib.Path) -> None:
        self._file = open(path, "a")  # noqa: SIM115  closed with the process

    def write(self, step: int, epoch: float, split: str, **values: Any) -> None:
        """Adds a line."""
        line = {"version": VERSION, "step": step, "epoch": round(epoch, 6)}
        line |= {"split": split, **values}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()


def keep_until(path: pathlib.Path, step: int) -> None:
    """Removes lines of steps after `step`, and a torn last line."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(errors="replace").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        try:
            if json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            break
        kept.append(line)
    files.write_bytes(path, "".join(kept).encode())
