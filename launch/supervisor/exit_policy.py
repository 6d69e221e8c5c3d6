"""Exit policy: decides why a group ended, which worker caused it, whether to restart.

>>> decision = decide([WorkerExit(index=0, code=175), WorkerExit(index=1, code=-9)])
>>> decision.culprit, decision.code, decision.restart
(1, 137, True)

It covers every way in which a group can end, and depends on nothing else.
"""

import dataclasses
import signal
from collections.abc import Sequence

from trainer import contract
from trainer.contract import EXIT_PEER_LOST, EXIT_WRONG_USAGE

_SAVED = {code: f"after {number.name}" for number, code in contract.STOPS.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerExit:
    """Exit of one worker, or its state when the group was ended.

    Attributes:
      index: of the worker.
      code: exit code, -n for death by signal n, None if it was still running.
      stopped: whether SIGSTOP had stopped it.
      step: the last step that it reported, None before the first.
      silent_secs: seconds since its last heartbeat.
    """

    index: int
    code: int | None
    stopped: bool = False
    step: int | None = None
    silent_secs: float = 0.0

    @property
    def exit_code(self) -> int | None:
        """Exit code as a shell sees it: 128 + n for signal n."""
        return None if self.code is None else contract.shell_code(self.code)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """Decision about a group: exit code, restart or not, culprit and reason.

    `culprit` is the index of the worker that caused the end; None if it is unknown.
    """

    code: int
    restart: bool
    culprit: int | None
    reason: str


def decide(exits: Sequence[WorkerExit]) -> Decision:
    """Decides about `exits`, given in the order in which the workers ended.

    Failures that a restart cannot solve come before those that it can; the death of a
    worker comes before the exits of peers that lost it.
    """
    for blame in (_blame_failed, _blame_dead):
        for worker in exits:
            if (decision := blame(worker)) is not None:
                return decision
    running = [worker for worker in exits if worker.code is None]
    if running:
        return _blame_silent(running)
    for worker in exits:
        if (decision := _blame_stopped(worker)) is not None:
            return decision
    if any(worker.exit_code == EXIT_PEER_LOST for worker in exits):
        return Decision(
            code=EXIT_PEER_LOST,
            restart=True,
            culprit=None,
            reason="every worker lost a peer or the storage",
        )
    return Decision(code=0, restart=False, culprit=None, reason="all workers are done")


def is_final(exits: Sequence[WorkerExit]) -> bool:
    """Whether workers that are still running cannot change the decision."""
    return any(
        blame(worker) for worker in exits for blame in (_blame_failed, _blame_dead)
    ) or any(worker.stopped for worker in exits)


def _blame_failed(worker: WorkerExit) -> Decision | None:
    code = worker.code
    if code is None or code <= 0 or code == EXIT_PEER_LOST or code in _SAVED:
        return None
    reason = (
        "wrong usage" if code == EXIT_WRONG_USAGE else "would fail the same way again"
    )
    return Decision(
        code=code,
        restart=False,
        culprit=worker.index,
        reason=f"exited {code}: {reason}",
    )


def _blame_dead(worker: WorkerExit) -> Decision | None:
    if worker.code is None or worker.code >= 0:
        return None
    number = -worker.code
    hint = "; memory may have run out" if number == signal.SIGKILL else ""
    return Decision(
        code=128 + number,
        restart=number != signal.SIGINT,
        culprit=worker.index,
        reason=f"died by signal {number} ({name_signal(number)}){hint}",
    )


def _blame_silent(running: Sequence[WorkerExit]) -> Decision:
    """Blames a stopped worker, or else the one that is furthest behind."""
    suspects = [worker for worker in running if worker.stopped]
    state = "is stopped (SIGSTOP)" if suspects else "is stuck"
    if not suspects:
        steps = [-1 if worker.step is None else worker.step for worker in running]
        suspects = [
            worker
            for worker, step in zip(running, steps, strict=True)
            if step == min(steps)
        ]
    first = suspects[0]
    if len(suspects) > 1:
        names = ", ".join(str(worker.index) for worker in suspects)
        state = f"workers {names} stopped making progress together at step {first.step}"
    return Decision(
        code=EXIT_PEER_LOST,
        restart=True,
        culprit=first.index if len(suspects) == 1 else None,
        reason=f"{state}, no progress for {first.silent_secs:.0f} s",
    )


def _blame_stopped(worker: WorkerExit) -> Decision | None:
    if worker.code not in _SAVED:
        return None
    return Decision(
        code=worker.code,
        restart=worker.code != contract.EXIT_INTERRUPTED,
        culprit=worker.index,
        reason=f"exited {worker.code}: stopped {_SAVED[worker.code]}",
    )


def name_signal(number: int) -> str:
    """Names a signal; real-time signals have one name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "real-time"
