"""The training loop: for every block of steps, run it, then call the callbacks."""

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

BLOCK_SECS = 0.8  # about a second for a compiled call, what a person waits gladly
MAX_BLOCK_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class StepBlock:
    """Steps that one compiled call runs.

    Attributes:
        step: of the first of them, 0-based.
        rows: int32 [K, B], the global batch of each.
        rates: float32 [K], the learning rate of each.
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
    """Number of steps in a block, chosen so that one lasts about `target_secs`.

    Args:
        steps: a fixed number; None: by time.
        target_secs: of one block.
    """

    def __init__(self, steps: int | None, *, target_secs: float = BLOCK_SECS) -> None:
        self._fixed, self._target = steps, target_secs
        self._secs_per_step: float | None = None
        self._agreed = steps or 1

    def record(self, count: int, secs: float) -> None:
        """Learns that `count` steps took `secs`."""
        self._secs_per_step = secs / count

    def set_agreed(self, steps: int) -> None:
        """Sets the number that all workers agreed on for the next block."""
        self._agreed = max(1, steps)

    def steps(self) -> int:
        """Steps of the next block, the same for all workers."""
        return self._agreed

    def proposal(self) -> int:
        """Steps that suit this worker, at least 1; one until a step was timed."""
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
    """Blocks from the state's step to the last, ending wherever something is due."""
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
    """A function that runs a block and adds its seconds to `state` and `sizer`.

    The first block of a process counts as compilation.
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
