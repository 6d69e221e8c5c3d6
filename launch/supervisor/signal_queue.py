"""Queue of stop signals, which are recorded instead of ending the process."""

import signal

from trainer.contract import stop_signals


class SignalQueue:
    """Records signals within the context; `received` is the first one, or None."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._pending: list[int] = []
        self._before: dict[int, object] = {}

    def __enter__(self) -> "SignalQueue":
        for number in stop_signals():
            self._before[number] = signal.signal(number, self._keep)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def drain(self) -> list[int]:
        """Returns the signals since the last call."""
        taken, self._pending = self._pending, []
        return taken

    def _keep(self, number: int, _: object) -> None:
        self.received = self.received or number
        self._pending.append(number)
