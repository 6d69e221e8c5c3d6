"""Clock: where the seconds of this process go."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager as ContextManager


class Clock:
    """Seconds by phase; phases do not nest.

    Args:
        now: monotonic seconds.
        show: gives a context in which progress tells of a phase.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        show: Callable[[str], ContextManager] = contextlib.nullcontext,
    ) -> None:
        self.now, self._show = now, show
        self.seconds: dict[str, float] = defaultdict(float)
        self.last: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the seconds spent inside to `name`."""
        start = self.now()
        try:
            with self._show(name):
                yield
        finally:
            self.last[name] = self.now() - start
            self.seconds[name] += self.last[name]


class Pace:
    """How many steps to give one call so that it lasts about `target_secs`."""

    def __init__(self, steps: int | None, *, target_secs: float = 0.8) -> None:
        self._fixed, self._target = steps, target_secs
        self._secs_per_step: float | None = None
        self._agreed = steps or 1

    def note(self, count: int, secs: float) -> None:
        """Takes note that a call of `count` steps took `secs`."""
        self._secs_per_step = secs / count

    def agree(self, steps: int) -> None:
        """Takes what all workers agreed on for the next call; 0 is nothing."""
        self._agreed = max(1, steps)

    def steps(self) -> int:
        """Steps for the next call, the same for all workers."""
        return self._agreed

    def wish(self) -> int:
        """Steps that would suit this worker, at least 1; one until a step was timed."""
        if self._fixed is not None:
            return self._fixed
        if not self._secs_per_step:
            return 1
        return max(1, min(1000, int(self._target / self._secs_per_step)))
