"""Learning-rate schedules."""

import math
import typing

import numpy as np

from trainer.config.enums import Schedule
from trainer.config.schema import OptimConfig


def learning_rate(
    step: int, config: OptimConfig, *, warmup_steps: int, total_steps: int
) -> float:
    """Computes the learning rate of 0-based `step`.

    A linear warm-up reaches the highest rate at step `warmup_steps`. Then the rate is
    constant, half a cosine (Loshchilov & Hutter 2017), divided by ten after half and
    three quarters of the steps (He et al. 2015), or falls linearly (Smith 2018).
    """
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    match config.schedule:
        case Schedule.CONSTANT:
            factor = 1.0
        case Schedule.COSINE:
            factor = (1 + math.cos(math.pi * done)) / 2
        case Schedule.PIECEWISE:
            factor = 0.1 ** sum(step >= total_steps * part for part in (0.5, 0.75))
        case Schedule.TRIANGLE:
            factor = 1 - done
        case _:
            typing.assert_never(config.schedule)
    return config.learning_rate * factor


def learning_rates(
    step: int, count: int, config: OptimConfig, *, warmup_steps: int, total_steps: int
) -> np.ndarray:
    """Computes the rates of `count` steps from `step` on: float32 [count]."""
    plan = {"warmup_steps": warmup_steps, "total_steps": total_steps}
    return np.array(
        [learning_rate(step + i, config, **plan) for i in range(count)], np.float32
    )


WARMUP_PART = 0.1  # the default warm-up takes at most this part of the steps
TRIANGLE_RISE = 0.2  # part of the steps of the default warm-up of a triangle


def warmup_steps(optim: OptimConfig, per_epoch: float, total: int) -> int:
    """Counts the steps of warm-up: `warmup_epochs`, or the default of the schedule."""
    if optim.warmup_epochs is not None:
        return round(optim.warmup_epochs * per_epoch)
    if optim.schedule is Schedule.TRIANGLE:
        return round(TRIANGLE_RISE * total)
    return min(round(per_epoch), round(WARMUP_PART * total))
