"""The training loop: runs blocks of steps and calls the callbacks after each."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from trainer.config.schema import OptimConfig
from trainer.data.sampler import Sampler
from trainer.monitoring.progress import PhaseTimer
from trainer.optim import schedules
from trainer.training.state import TrainState
from trainer.training.step import StepOutput, TrainStep
from trainer.training.timetable import Timetable

BLOCK_SECS = 0.8  # duration of a compiled call: short enough for progress and Ctrl-C
MAX_BLOCK_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class StepBlock:
    """Steps that one compiled call runs.

    Attributes:
        step: the first step, 0-based.
        rows: int32 [K, B], the global batch of each step.
        rates: float32 [K], the learning rate of each step.
    """

    step: int
    rows: np.ndarray
    rates: np.ndarray


Callback = Callable[[TrainState, StepOutput], None]
RunBlock = Callable[[StepBlock], StepOutput]


def train(
    state: TrainState,
    run_block: RunBlock,
    callbacks: Iterable[Callback],
    *,
    blocks: Iterable[StepBlock],
) -> None:
    """Advances `state` block by block, and calls every callback after each."""
    for block in blocks:
        output = run_block(block)
        state.advance(output)
        for callback in callbacks:
            callback(state, output)


class BlockSizer:
    """Chooses the number of steps of a block so that it lasts about `target_secs`.

    Args:
        steps: a fixed number of steps; None: chosen by time.
        target_secs: seconds that a block should last.
    """

    def __init__(self, steps: int | None, *, target_secs: float = BLOCK_SECS) -> None:
        self._fixed, self._target = steps, target_secs
        self._secs_per_step: float | None = None
        self._agreed = steps or 1

    def record(self, count: int, secs: float) -> None:
        """Records that `count` steps took `secs`."""
        self._secs_per_step = secs / count

    def set_agreed(self, steps: int) -> None:
        """Sets the number that all workers agreed on for the next block."""
        self._agreed = max(1, steps)

    def steps(self) -> int:
        """Returns the number of steps of the next block, equal on all workers."""
        return self._agreed

    def proposal(self) -> int:
        """Returns the number of steps that suits this worker; 1 before any timing."""
        if self._fixed is not None:
            return self._fixed
        if not self._secs_per_step:
            return 1
        return max(1, min(MAX_BLOCK_STEPS, int(self._target / self._secs_per_step)))


def step_blocks(
    state: TrainState,
    timetable: Timetable,
    sampler: Sampler,
    config: OptimConfig,
    sizer: BlockSizer,
) -> Iterator[StepBlock]:
    """Yields the remaining blocks; a block ends at each step where something is due."""
    while state.step < timetable.total_steps:
        step = state.step
        count = min(sizer.steps(), timetable.next_stop(step) - step)
        rates = schedules.learning_rates(
            step,
            count,
            config,
            warmup_steps=timetable.warmup_steps,
            total_steps=timetable.total_steps,
        )
        yield StepBlock(step, sampler.block(step, count), rates)


def timed_step(
    train_step: TrainStep, state: TrainState, timer: PhaseTimer, sizer: BlockSizer
) -> RunBlock:
    """Returns a function that runs a block and adds its time to `state` and `sizer`.

    The time of the first block of a process counts as compilation.
    """

    def run(block: StepBlock) -> StepOutput:
        phase = "train" if "compile" in timer.last else "compile"
        with timer.phase(phase):
            output = train_step(block.step, block.rows, block.rates)
        if phase == "train":
            sizer.record(len(block.rows), timer.last[phase])
            state.seconds += timer.last[phase]
            state.images += block.rows.size
        return output

    return run
