"""The sentence that runs the step: for every call, run its steps, then act."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from trainer.config.schema import OptimConfig
from trainer.data.sampler import Sampler
from trainer.distributed.shutdown import StopRequest
from trainer.monitoring.progress import PhaseTimer
from trainer.optim import schedules
from trainer.training.state import TrainState
from trainer.training.step import StepOutput
from trainer.training.timetable import Timetable


class BlockSizer:
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


Callback = Callable[[TrainState, StepOutput], None]
RunSteps = Callable[[int, np.ndarray, np.ndarray], StepOutput]


@dataclasses.dataclass(frozen=True)
class StepBlock:
    """Steps that one compiled call runs.

    Attributes:
        step: of the first of them, 0-based.
        rows: int32 [K, B], the global batch of each.
        rates: float32 [K].
    """

    step: int
    rows: np.ndarray
    rates: np.ndarray


def train(
    state: TrainState, run_steps: RunSteps, actions: Iterable[Callback], *, calls
) -> None:
    """Advances `state` call by call; a call runs its steps in one compiled function."""
    for call in calls:
        outcome = run_steps(call.step, call.rows, call.rates)
        state.advance(outcome)
        for action in actions:
            action(state, outcome)


def step_blocks(
    state: TrainState,
    plan: Timetable,
    sampler: Sampler,
    config: OptimConfig,
    pace: BlockSizer,
) -> Iterator[StepBlock]:
    """Calls from the state's step to the last, ending wherever something is due."""
    while state.step < plan.total_steps:
        step = state.step
        count = min(pace.steps(), plan.next_stop(step) - step)
        yield StepBlock(
            step,
            sampler.block(step, count),
            schedules.learning_rates(
                step,
                count,
                config,
                warmup_steps=plan.warmup_steps,
                total_steps=plan.total_steps,
            ),
        )


def timed_step(
    run_steps: Callable[..., StepOutput],
    state: TrainState,
    clock: PhaseTimer,
    pace: BlockSizer,
    request: StopRequest,
) -> RunSteps:
    """`run_steps`, timed, and told of signals.

    The first call of a process counts as compilation.
    """

    def run(step: int, rows: np.ndarray, rates: np.ndarray) -> StepOutput:
        phase = "train" if "compile" in clock.last else "compile"
        with clock.phase(phase):
            outcome = run_steps(step, rows, rates, (request.number, pace.wish()))
        pace.agree(outcome.steps)
        if phase == "train":
            pace.note(len(rows), clock.last[phase])
            state.seconds += clock.last[phase]
            state.images += rows.size
        return outcome

    return run
