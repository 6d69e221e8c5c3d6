"""One attempt: all workers of a job, from their start until none is left."""

import dataclasses
import selectors
import signal
import time
from collections.abc import Callable, Sequence

from launch.supervisor import exit_policy
from launch.supervisor.console import Console
from launch.supervisor.exit_policy import WorkerExit
from launch.supervisor.signal_queue import SignalQueue
from launch.supervisor.worker_process import WorkerProcess
from trainer.contract import EXIT_PEER_LOST

TICK_SECS = 0.1
SETTLE_SECS = 20.0  # TensorFlow notices a dead or stopped peer after about ten
_MARGIN_SECS = 15.0  # on top of the grace: the interpreter's own way out
_STACKS_SECS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Timeouts in seconds: to leave after a signal, without progress, after a loss.

    `hang_secs` None waits for progress without end.
    """

    grace_secs: float
    hang_secs: float | None
    settle_secs: float = SETTLE_SECS


class WorkerGroup:
    """Watches `workers`; `run` ends them all before it returns, whatever happens."""

    def __init__(
        self,
        workers: Sequence[WorkerProcess],
        *,
        console: Console,
        signals: SignalQueue,
        timeouts: Timeouts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = list(workers)
        self._left: list[WorkerProcess] = []  # in the order of leaving
        self._console = console
        self._signals = signals
        self._timeouts = timeouts
        self._clock = clock
        self._deadline: float | None = None
        self._selector = selectors.DefaultSelector()
        for worker in self._workers:
            self._selector.register(worker.output, selectors.EVENT_READ, worker)

    def run(self, *, restarts: str) -> list[WorkerExit]:
        """Runs the attempt; how each worker ended, those that had to be killed last.

        Args:
          restarts: for the progress line, e.g. "1/3".
        """
        try:
            while len(self._left) < len(self._workers) and not self._is_over():
                self._poll_workers(TICK_SECS)
                self._forward_signals()
                self._console.show_progress(
                    [worker.heartbeat for worker in self._workers], restarts=restarts
                )
            exits = self._exits()
            self._show_stacks(exits)
        finally:
            for worker in self._workers:
                worker.kill()
            self._selector.close()
        for worker in self._workers:
            worker.close()
        return exits

    def _poll_workers(self, secs: float) -> None:
        """Passes output on for at most `secs`, then looks at every worker once."""
        self._drain(secs)
        now = self._clock()
        for worker in self._running():
            worker.heartbeat.refresh(now)
            if worker.poll() is not None:
                self._left.append(worker)

    def _forward_signals(self) -> None:
        """Passes received signals on; from the first on, the workers' time runs out."""
        for number in self._signals.drain():
            for worker in self._running():
                worker.send(number)
            self._expect_end(self._timeouts.grace_secs + _MARGIN_SECS)
            self._console.announce(
                f"{signal.Signals(number).name}: passed on to all workers"
            )

    def _is_over(self) -> bool:
        """Whether those that still run need not be waited for."""
        now = self._clock()
        if self._deadline is not None and now >= self._deadline:
            return True
        if self._signals.received is not None:
            return False
        codes = {worker.poll() for worker in self._left} - {0}
        if codes:
            times = self._timeouts
            lost = codes == {EXIT_PEER_LOST}
            self._expect_end(
                times.settle_secs if lost else times.grace_secs + _MARGIN_SECS
            )
            return exit_policy.is_final(self._exits())
        return self._is_stuck(now)

    def _is_stuck(self, now: float) -> bool:
        """Whether somebody who once showed progress shows none for too long.

        Those who never did are noticed by the others, who wait for them.
        """
        limit = self._timeouts.hang_secs
        if limit is None:
            return False
        beats = [worker.heartbeat for worker in self._running()]
        return any(
            beat.step is not None and now - beat.changed_secs > limit for beat in beats
        )

    def _show_stacks(self, exits: Sequence[WorkerExit]) -> None:
        """Has Python show where each thread is, unless one that left is to blame."""
        if not self._running() or exit_policy.decide(exits).code != EXIT_PEER_LOST:
            return
        for worker in self._running():
            worker.send(signal.SIGABRT)
        end = self._clock() + _STACKS_SECS
        while self._clock() < end:
            self._drain(TICK_SECS)

    def _drain(self, secs: float) -> None:
        """Passes output on; returns after `secs` at the latest."""
        if not self._selector.get_map():
            time.sleep(secs)
            return
        for key, _ in self._selector.select(secs):
            if not key.data.forward_output():
                self._selector.unregister(key.fileobj)

    def _expect_end(self, secs: float) -> None:
        if self._deadline is None:
            self._deadline = self._clock() + secs

    def _running(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker not in self._left]

    def _exits(self) -> list[WorkerExit]:
        """Lists those that left, in their order, then those that still run."""
        now = self._clock()
        return [worker.exit_at(now) for worker in self._left + self._running()]
