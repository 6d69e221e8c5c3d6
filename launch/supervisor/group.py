"""Worker group: all workers of one attempt, from their start until all have ended."""

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
SETTLE_SECS = 20.0  # TensorFlow notices a dead or stopped peer after about 10 s
_MARGIN_SECS = 15.0  # in addition to the grace period, for the exit of the interpreter
_STACKS_SECS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Timeouts in seconds: after a signal, without progress, after a lost worker.

    With `hang_secs` None there is no limit for progress.
    """

    grace_secs: float
    hang_secs: float | None
    settle_secs: float = SETTLE_SECS


class WorkerGroup:
    """Watches `workers`; `run` ends all of them before it returns or raises."""

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
        """Runs the attempt; returns how each worker ended, killed ones last.

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
        """Forwards output for at most `secs`, then checks every worker once."""
        self._drain(secs)
        now = self._clock()
        for worker in self._running():
            worker.heartbeat.refresh(now)
            if worker.poll() is not None:
                self._left.append(worker)

    def _forward_signals(self) -> None:
        """Forwards received signals; the first one starts the grace period."""
        for number in self._signals.drain():
            for worker in self._running():
                worker.send(number)
            self._expect_end(self._timeouts.grace_secs + _MARGIN_SECS)
            self._console.announce(
                f"{signal.Signals(number).name}: passed on to all workers"
            )

    def _is_over(self) -> bool:
        """Whether the attempt need not wait for workers that are still running."""
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
        """Whether a worker that has made progress makes none for too long.

        Workers that never made progress are detected by their peers, which wait for
        them.
        """
        limit = self._timeouts.hang_secs
        if limit is None:
            return False
        beats = [worker.heartbeat for worker in self._running()]
        return any(
            beat.step is not None and now - beat.changed_secs > limit for beat in beats
        )

    def _show_stacks(self, exits: Sequence[WorkerExit]) -> None:
        """Makes workers print their stacks, unless an ended worker is to blame."""
        if not self._running() or exit_policy.decide(exits).code != EXIT_PEER_LOST:
            return
        for worker in self._running():
            worker.send(signal.SIGABRT)
        end = self._clock() + _STACKS_SECS
        while self._clock() < end:
            self._drain(TICK_SECS)

    def _drain(self, secs: float) -> None:
        """Forwards output for at most `secs`."""
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
        """Lists workers that ended, in their order, then those still running."""
        now = self._clock()
        return [worker.exit_at(now) for worker in self._left + self._running()]
