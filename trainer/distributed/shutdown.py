"""Graceful shutdown on SIGTERM, SIGINT, SIGUSR1 and SIGHUP."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from trainer import contract
from trainer.errors import Interrupted


class StopRequest:
    """Request to stop by a signal; a second signal ends the process at once.

    While no work can be lost, the first signal raises Interrupted at once. A thread
    receives signals too: Python calls a handler only when the main thread returns from
    TensorFlow, and a call of many steps may take longer than the grace period.

    Attributes:
        number: the first signal, or 0.
    """

    def __init__(self, grace_secs: float) -> None:
        self.number = 0
        self._safe: str | None = "before the first step; nothing to save"
        self._grace_secs = grace_secs
        self._heard: int | None = (
            None  # reading end of the pipe that signals are written to
        )

    def install(self) -> None:
        """Installs the signal handlers.

        TensorFlow replaces the handler of SIGTERM when it creates a cluster: call this
        method again afterwards.
        """
        for number in contract.stop_signals():
            signal.signal(number, self._receive)
        if self._heard is None:
            self._heard, told = os.pipe()
            os.set_blocking(told, False)
            signal.set_wakeup_fd(told, warn_on_full_buffer=False)
            threading.Thread(target=self._listen, daemon=True).start()

    def defer(self) -> None:
        """Makes later signals only set `number`, which the program has to check."""
        self.allow(self._safe or "")
        self._safe = None

    def allow(self, state: str) -> None:
        """Lets later signals raise Interrupted anywhere.

        `state` completes the message "stopped by SIGTERM STATE".

        Raises:
            Interrupted: a signal arrived earlier.
        """
        self._safe = state
        if self.number:
            raise interruption(self.number, state)

    def _receive(self, number: int, _frame: object) -> None:
        if self.number:
            return
        self.number = number
        if self._safe is not None:
            raise interruption(number, self._safe)

    def _listen(self) -> None:
        """Ends the process at the second signal, or when the grace period is over."""
        first, since = None, 0.0
        while heard := os.read(self._heard, 1):
            number = heard[0]
            if number not in contract.STOPS:
                continue
            if first is not None:
                if time.monotonic() - since > contract.TWICE_SECS:
                    contract.end_at_once(first)
                continue
            first, since = number, time.monotonic()
            timer = threading.Timer(self._grace_secs, contract.end_at_once, [number])
            timer.daemon = True
            timer.start()


class KeyboardRequest(StopRequest):
    """Request to stop by Ctrl-C in a notebook or script; the process goes on.

    A second Ctrl-C raises KeyboardInterrupt. Other signals are not handled, and nothing
    is outside the main thread.
    """

    def __init__(self) -> None:
        super().__init__(grace_secs=0.0)
        self._before: Any = None

    def install(self) -> None:
        """Installs the handler of SIGINT, also after TensorFlow replaced it."""
        if threading.current_thread() is threading.main_thread():
            found = signal.signal(signal.SIGINT, self._receive)
            self._before = found if self._before is None else self._before

    def restore(self) -> None:
        """Restores the previous handler of SIGINT."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _receive(self, number: int, frame: object) -> None:
        if self.number:
            raise KeyboardInterrupt
        super()._receive(number, frame)


def interruption(number: int, state: str) -> Interrupted:
    """Creates the exception that ends the process with the exit code of the signal."""
    name = signal.Signals(number)
    return Interrupted(f"stopped by {name.name} {state}", contract.STOPS[name])


@contextlib.contextmanager
def ending_at_once(state: str, say: Callable[[str], object]) -> Iterator[None]:
    """Makes stop signals end the process at once within the context.

    Nothing may need to be saved or removed there. An exception that a handler raises
    while native modules are imported is lost in some of them, and shown with a
    traceback by others. Signals that have no handler in Python keep their effect.

    Args:
        state: completes the message "stopped by SIGTERM STATE".
        say: prints the message.
    """

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one would say it again
        say(f"stopped by {signal.Signals(number).name} {state}")
        os._exit(contract.STOPS[signal.Signals(number)])

    before = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in contract.STOPS}
        before = {number: one for number, one in handlers.items() if callable(one)}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
