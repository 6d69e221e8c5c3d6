"""TFDS' bars as lines of progress, where no terminal could redraw them."""

import contextlib
import io
import types
from collections.abc import Iterator

import tqdm
from tensorflow_datasets.core.utils import tqdm_utils

from trainer.progress import CONSOLE, EARLY_SECS, EVERY_SECS, duration


class _Bar(tqdm.tqdm):
    """A bar whose latest state CONSOLE shows when it is time."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs, file=io.StringIO())

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Shows a bar that takes long; an empty `msg` would only clear its place."""
        secs = self.format_dict["elapsed"]
        if msg is None and secs >= EVERY_SECS - EARLY_SECS:
            CONSOLE.update(self._line(secs))

    def _line(self, secs: float) -> str:
        what, unit, rate = self.desc.strip(" .:"), self.unit.strip(), self.n / secs
        if not self.total or not rate:  # no total of a set that was never prepared
            count = f"{what}: {self.n:,.0f} {unit}  {rate:,.0f} {unit}/s"
            return f"{count} ({duration(secs)} so far)"
        left = duration((self.total - self.n) / rate)
        count = f"{what}: {self.n:,.0f} of {self.total:,.0f} {unit}"
        return f"{count}  ETA {left}  {rate:,.0f} {unit}/s"


@contextlib.contextmanager
def as_lines() -> Iterator[None]:
    """Inside, whatever TFDS counts is a line every few seconds."""
    before = tqdm_utils.tqdm_lib
    tqdm_utils.tqdm_lib = types.SimpleNamespace(tqdm=_Bar)
    try:
        yield
    finally:
        tqdm_utils.tqdm_lib = before
