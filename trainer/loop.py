"""The sentence that runs the step: for every call, run its steps, then act."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from trainer import optim
from trainer.clock import Clock, Pace
from trainer.config import OptimConfig
from trainer.plan import Plan
from trainer.sampler import Sampler
from trainer.signals import StopRequest
from trainer.state import TrainState
from trainer.steps import Outcome

Action = Callable[[TrainState, Outcome], None]
RunSteps = Callable[[int, np.ndarray, np.ndarray], Outcome]


@dataclasses.dataclass(frozen=True)
class Call:
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
    state: TrainState, run_steps: RunSteps, actions: Iterable[Action], *, calls
) -> None:
    """Advances `state` call by call; a call runs its steps in one compiled function."""
    for call in calls:
        outcome = run_steps(call.step, call.rows, call.rates)
        state.advance(outcome)
        for action in actions:
            action(state, outcome)


def calls(
    state: TrainState, plan: Plan, sampler: Sampler, config: OptimConfig, pace: Pace
) -> Iterator[Call]:
    """Calls from the state's step to the last, ending wherever something is due."""
    while state.step < plan.total_steps:
        step = state.step
        count = min(pace.steps(), plan.next_stop(step) - step)
        yield Call(
            step,
            sampler.block(step, count),
            optim.rates(
                step,
                count,
                config,
                warmup_steps=plan.warmup_steps,
                total_steps=plan.total_steps,
            ),
        )


def timed(
    run_steps: Callable[..., Outcome],
    state: TrainState,
    clock: Clock,
    pace: Pace,
    request: StopRequest,
) -> RunSteps:
    """`run_steps`, timed, and told of signals.

    The first call of a process counts as compilation.
    """

    def run(step: int, rows: np.ndarray, rates: np.ndarray) -> Outcome:
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
