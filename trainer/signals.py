"""Asks for a stop instead of dying: SIGTERM, SIGINT and SIGUSR1."""

import os
import signal
import threading

from trainer.commandline import Stopped

CODES = {signal.SIGINT: 130, signal.SIGUSR1: 138, signal.SIGTERM: 143}


class StopRequest:
    """Remembers the first signal; a second one ends the process at once.

    While nothing is trained that could be lost (`at_once`), the first signal raises
    Stopped where the program is.

    Attributes:
        number: of the signal received, or 0.
    """

    def __init__(self, grace_secs: float) -> None:
        self.number = 0
        self.at_once = True
        self._grace_secs = grace_secs

    def install(self) -> None:
        """Takes the signals over.

        TensorFlow takes SIGTERM when a cluster is made: call it again after that.
        """
        for number in CODES:
            signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: object) -> None:
        if self.number:
            os._exit(CODES[signal.Signals(self.number)])
        self.number = number
        if self.at_once:
            raise stopped(number, "before the first step; nothing to save")
        code = CODES[signal.Signals(number)]
        timer = threading.Timer(self._grace_secs, os._exit, [code])
        timer.daemon = True
        timer.start()


def stopped(number: int, state: str) -> Stopped:
    """The exception that ends the process with the signal's exit code."""
    name = signal.Signals(number)
    return Stopped(f"stopped by {name.name} {state}", CODES[name])
