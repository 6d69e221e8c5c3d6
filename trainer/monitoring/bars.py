"""Shows the progress bars of TFDS as progress lines of the toolkit."""

import contextlib
import io
import types
from collections.abc import Iterator
from typing import Any

import tqdm
from tensorflow_datasets.core.utils import tqdm_utils

from trainer.monitoring.progress import CONSOLE, EARLY_SECS, EVERY_SECS, duration


class _Bar(tqdm.tqdm):
    """A progress bar that writes its state as a line of CONSOLE."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, file=io.StringIO())

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Shows the state of a bar that takes long; `msg` is given only to clear it."""
        secs = self.format_dict["elapsed"]
        if msg is None and secs >= EVERY_SECS - EARLY_SECS:
            CONSOLE.update(self._line(secs))

    def _line(self, secs: float) -> str:
        what, unit, rate = self.desc.strip(" .:"), self.unit.strip(), self.n / secs
        if not self.total or not rate:  # a set that was never prepared has no total
            count = f"{what}: {self.n:,.0f} {unit}  {rate:,.0f} {unit}/s"
            return f"{count} ({duration(secs)} so far)"
        left = duration((self.total - self.n) / rate)
        count = f"{what}: {self.n:,.0f} of {self.total:,.0f} {unit}"
        return f"{count}  ETA {left}  {rate:,.0f} {unit}/s"


@contextlib.contextmanager
def show_as_lines() -> Iterator[None]:
    """Makes TFDS write a progress line every few seconds instead of drawing bars."""
    before = tqdm_utils.tqdm_lib
    tqdm_utils.tqdm_lib = types.SimpleNamespace(tqdm=_Bar)
    try:
        yield
    finally:
        tqdm_utils.tqdm_lib = before
