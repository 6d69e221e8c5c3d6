"""The rate at a step, and the optimizer that is given gradients already summed."""

import math
import typing
from typing import Any

import numpy as np

from trainer.choices import OptimizerName, Precision, Schedule
from trainer.config import Config, OptimConfig

if typing.TYPE_CHECKING:
    import keras

MOMENTUM = {OptimizerName.SGD: 0.9, OptimizerName.MUON: 0.6}
BIASES = ("bias", "beta")
NOT_DECAYED = ("gamma", *BIASES)


def rate(
    step: int, config: OptimConfig, *, warmup_steps: int, total_steps: int
) -> float:
    """The learning rate of 0-based `step`.

    Linear warm-up reaches the highest rate at step `warmup_steps`; then constant, half
    a cosine (Loshchilov & Hutter 2017), tenths (He et al. 2015), or the falling side of
    one triangle (Smith 2018).
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


def rates(
    step: int, count: int, config: OptimConfig, *, warmup_steps: int, total_steps: int
) -> np.ndarray:
    """Rates of `count` steps from `step` on: float32 [count]."""
    plan = {"warmup_steps": warmup_steps, "total_steps": total_steps}
    return np.array([rate(step + i, config, **plan) for i in range(count)], np.float32)


def build(
    config: Config, weights: list["keras.Variable"]
) -> "keras.optimizers.Optimizer":
    """The optimizer of `weights`, its slots made; call it in the strategy's scope.

    It expects gradients that are summed over replicas already: only then is clipping
    exact and does an infinity on one replica reach all. In mixed_float16 it is wrapped
    in Keras' dynamic loss scaling.
    """
    import keras

    optim = config.optim
    common = {
        "name": optim.name.value,  # a counted name would differ within a process
        "learning_rate": optim.learning_rate,
        "weight_decay": optim.weight_decay or None,
        "use_ema": optim.ema_decay is not None,
        "ema_momentum": optim.ema_decay or 0.0,
    }
    momentum = MOMENTUM.get(optim.name) if optim.momentum is None else optim.momentum
    factor = optim.bias_rate_factor
    match optim.name:
        case OptimizerName.SGD:
            kind = _reduced(keras.optimizers.SGD, factor)
            optimizer = kind(momentum=momentum, nesterov=momentum > 0, **common)
        case OptimizerName.ADAMW:
            optimizer = _reduced(keras.optimizers.AdamW, factor)(**common)
        case OptimizerName.MUON:
            optimizer = _muon(optim, momentum, common)
        case _:
            typing.assert_never(optim.name)
    if optim.name is not OptimizerName.MUON:
        optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    if config.precision is Precision.MIXED_FLOAT16:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    optimizer.build(weights)
    return optimizer


def _muon(
    config: OptimConfig, momentum: float, common: dict[str, Any]
) -> "keras.optimizers.Optimizer":
    from trainer.muon import Muon  # imports Keras

    others = config.other_learning_rate / config.learning_rate
    kind = _reduced(Muon, config.bias_rate_factor)
    return kind(kernel_momentum=momentum, others=others, **common)


def _reduced(base: type["keras.optimizers.Optimizer"], bias_factor: float) -> type:
    """`base`, but for summing gradients over replicas once more.

    Biases and offsets take steps `bias_factor` times as long ("scaled biases", Jordan
    2024, arXiv:2404.00498, section 3.4).
    """

    class Reduced(base):
        def _all_reduce_sum_gradients(self, grads_and_vars):
            return grads_and_vars

        def update_step(self, gradient, variable, learning_rate):
            # Here `variable` is a replica's: "stem_norm/beta/replica_1:0".
            parts = variable.name.partition(":")[0].split("/")
            if bias_factor != 1 and not {*parts[-2:]}.isdisjoint(BIASES):
                learning_rate = learning_rate * bias_factor
            super().update_step(gradient, variable, learning_rate)

    Reduced.__name__ = base.__name__
    return Reduced
