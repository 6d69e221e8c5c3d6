"""Why a group of workers ended, whose doing it was, and whether to start it again.

>>> verdict = judge([End(index=0, code=175), End(index=1, code=-9)])
>>> verdict.culprit, verdict.code, verdict.restart
(1, 137, True)

One table for every way a group can end, so that it can be read and tested without one.
"""

import dataclasses
import signal
from collections.abc import Sequence

from trainer import contract
from trainer.contract import EXIT_PEER_LOST, EXIT_WRONG_USAGE

_SAVED = {code: f"after {number.name}" for number, code in contract.STOPS.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerExit:
    """How one worker stood when its group was over.

    `code` is what it exited with, -n for death by signal n, None if it still ran;
    `stopped`: it was halted by SIGSTOP; `step`: the last one that it told of, None
    before the first; `silent_secs`: since then.
    """

    index: int
    code: int | None
    stopped: bool = False
    step: int | None = None
    silent_secs: float = 0.0

    @property
    def exit_code(self) -> int | None:
        """As a shell would see it: 128 + n for signal n."""
        return self.code if self.code is None or self.code >= 0 else 128 - self.code


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """The group's exit code, whether a restart may help, who did it and what it was.

    `culprit` is None if nobody can be named.
    """

    code: int
    restart: bool
    culprit: int | None
    reason: str


def decide(ends: Sequence[WorkerExit]) -> Decision:
    """The verdict over `ends`, in the order in which the workers left.

    What cannot be mended by a restart decides before what can; a death before the exits
    of those that lost a peer by it.
    """
    for blame in (_failed, _died):
        for end in ends:
            if (verdict := blame(end)) is not None:
                return verdict
    running = [end for end in ends if end.code is None]
    if running:
        return _silent(running)
    for end in ends:
        if (verdict := _saved(end)) is not None:
            return verdict
    if any(end.exit_code == EXIT_PEER_LOST for end in ends):
        return Decision(
            code=EXIT_PEER_LOST,
            restart=True,
            culprit=None,
            reason="every worker lost a peer or the storage",
        )
    return Decision(code=0, restart=False, culprit=None, reason="all workers are done")


def decided(ends: Sequence[WorkerExit]) -> bool:
    """Whether those that still run could not change the verdict."""
    return any(blame(end) for end in ends for blame in (_failed, _died)) or any(
        end.stopped for end in ends
    )


def _failed(end: WorkerExit) -> Decision | None:
    code = end.code
    if code is None or code <= 0 or code == EXIT_PEER_LOST or code in _SAVED:
        return None
    reason = (
        "wrong usage" if code == EXIT_WRONG_USAGE else "would fail the same way again"
    )
    return Decision(
        code=code,
        restart=False,
        culprit=end.index,
        reason=f"exited {code}: {reason}",
    )


def _died(end: WorkerExit) -> Decision | None:
    if end.code is None or end.code >= 0:
        return None
    number = -end.code
    hint = "; memory may have run out" if number == signal.SIGKILL else ""
    return Decision(
        code=128 + number,
        restart=number != signal.SIGINT,
        culprit=end.index,
        reason=f"died by signal {number} ({_name(number)}){hint}",
    )


def _silent(running: Sequence[WorkerExit]) -> Decision:
    """Blames who was stopped, or else who is behind all others."""
    suspects = [end for end in running if end.stopped]
    state = "is stopped (SIGSTOP)" if suspects else "is stuck"
    if not suspects:
        steps = [-1 if end.step is None else end.step for end in running]
        suspects = [
            end for end, step in zip(running, steps, strict=True) if step == min(steps)
        ]
    first = suspects[0]
    if len(suspects) > 1:
        names = ", ".join(str(end.index) for end in suspects)
        state = f"workers {names} stopped getting on together at step {first.step}"
    return Decision(
        code=EXIT_PEER_LOST,
        restart=True,
        culprit=first.index if len(suspects) == 1 else None,
        reason=f"{state}, no progress for {first.silent_secs:.0f} s",
    )


def _saved(end: WorkerExit) -> Decision | None:
    if end.code not in _SAVED:
        return None
    return Decision(
        code=end.code,
        restart=end.code != contract.EXIT_INTERRUPTED,
        culprit=end.index,
        reason=f"exited {end.code}: stopped {_SAVED[end.code]}",
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "real-time"
