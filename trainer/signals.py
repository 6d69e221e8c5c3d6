"""Asks for a stop instead of dying: SIGTERM, SIGINT and SIGUSR1."""

import os
import signal

from trainer.commandline import Stopped

CODES = {signal.SIGINT: 130, signal.SIGUSR1: 138, signal.SIGTERM: 143}


class StopRequest:
    """Remembers the first signal; a second one ends the process at once.

    While nothing is trained that could be lost (`at_once`), the first signal raises
    Stopped where the program is.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.at_once = True

    def install(self) -> None:
        """Takes the signals over; TensorFlow takes SIGTERM when a cluster is made, so
        this has to be called again after that."""
        for number in CODES:
            signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: object) -> None:
        if self.received is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.received = signal.Signals(number)
        if self.at_once:
            raise self.stopped("before the first step; nothing to save")

    def stopped(self, state: str) -> Stopped:
        """The exception that ends the process with the signal's exit code."""
        return Stopped(f"stopped by {self.received.name} {state}", CODES[self.received])
