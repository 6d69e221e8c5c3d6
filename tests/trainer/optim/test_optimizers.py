"""Rates by hand, and optimizers against the definition of decoupled weight decay."""

import keras
import numpy as np
import pytest

from trainer.config.enums import OptimizerName, Schedule
from trainer.config.schema import Config, OptimConfig
from trainer.optim import optimizers, schedules


def rates(schedule: Schedule, *, warmup: int, total: int) -> np.ndarray:
    config = OptimConfig(schedule=schedule, learning_rate=1.0)
    return schedules.learning_rates(
        0, total, config, warmup_steps=warmup, total_steps=total
    )


def test_schedules_by_hand():
    constant = rates(Schedule.CONSTANT, warmup=3, total=6)
    np.testing.assert_allclose(constant, [0.25, 0.5, 0.75, 1, 1, 1])
    cosine = rates(Schedule.COSINE, warmup=0, total=4)
    np.testing.assert_allclose(cosine, [1, 0.853553, 0.5, 0.146447], atol=1e-6)
    tenths = rates(Schedule.PIECEWISE, warmup=0, total=8)
    np.testing.assert_allclose(tenths, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    triangle = rates(Schedule.TRIANGLE, warmup=1, total=5)
    np.testing.assert_allclose(triangle, [0.5, 1, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("schedule", list(Schedule))
def test_every_schedule_has_rates(schedule):
    found = rates(schedule, warmup=2, total=10)
    assert np.isfinite(found).all() and (found >= 0).all()
    assert found.max() == pytest.approx(1)


def test_a_rate_depends_on_its_step_alone():
    config = OptimConfig(schedule=Schedule.COSINE)
    plan = {"warmup_steps": 5, "total_steps": 50}
    whole = schedules.learning_rates(0, 50, config, **plan)
    parts = [schedules.learning_rates(s, 10, config, **plan) for s in range(0, 50, 10)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def _variables() -> list[keras.Variable]:
    return [
        keras.Variable(np.ones(3, np.float32), name="kernel"),
        keras.Variable(np.ones(3, np.float32), name="bias"),
        keras.Variable(np.ones(3, np.float32), name="gamma"),
    ]


@pytest.mark.parametrize("name", [OptimizerName.SGD, OptimizerName.ADAMW])
def test_weight_decay_is_decoupled_and_spares_biases_and_normalisation(name):
    settings = OptimConfig(name=name, learning_rate=0.5, weight_decay=0.1)
    variables = _variables()
    optimizer = optimizers.build_optimizer(Config(optim=settings), variables)
    optimizer.apply([np.zeros(3, np.float32)] * 3, variables)
    decayed = [v.numpy()[0] for v in variables]
    np.testing.assert_allclose(decayed, [1 - 0.5 * 0.1, 1, 1], rtol=1e-6)


def test_nesterov_momentum_by_hand():
    settings = OptimConfig(
        name=OptimizerName.SGD, momentum=0.9, learning_rate=0.1, weight_decay=0
    )
    variable = keras.Variable(np.zeros(1, np.float32), name="kernel")
    optimizer = optimizers.build_optimizer(Config(optim=settings), [variable])
    for _ in range(2):
        optimizer.apply([np.ones(1, np.float32)], [variable])
    # v1 = -.1, w1 = .9 v1 - .1 = -.19; v2 = .9 v1 - .1 = -.19, w2 = w1 + .9 v2 - .1
    np.testing.assert_allclose(variable.numpy(), [-0.19 - 0.171 - 0.1], rtol=1e-6)


@pytest.mark.parametrize("name", list(OptimizerName))
def test_every_optimizer_can_be_built(name):
    variables = _variables()
    settings = Config(optim=OptimConfig(name=name))
    optimizer = optimizers.build_optimizer(settings, variables)
    optimizer.apply([np.ones(3, np.float32)] * 3, variables)
    assert all((v.numpy() != 1).all() for v in variables)
