"""Epochs become steps in one place; "when" is a value."""

import dataclasses

import pytest

from trainer.config.enums import Schedule
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, OptimConfig
from trainer.training import timetable
from trainer.training.timetable import Interval


def test_every_is_true_on_multiples_and_at_the_end():
    every = Interval(4, last=10)
    assert [s for s in range(1, 11) if every(s)] == [4, 8, 10]
    assert [every.after(s) for s in (0, 3, 4, 8, 9)] == [4, 4, 8, 10, 10]
    assert not any(Interval(None, last=10)(s) for s in range(1, 10))
    assert Interval(None, last=10).after(3) == 10


@pytest.mark.parametrize(
    ("epochs", "rows", "batch", "steps"),
    [
        (9.9, 50_000, 500, 990),
        (1, 45_000, 256, 176),
        (0.001, 100, 50, 1),
        (2, 64, 64, 2),
    ],
)
def test_epochs_become_steps(epochs, rows, batch, steps):
    optim = OptimConfig(warmup_epochs=0)
    config = Config(epochs=epochs, global_batch=batch, optim=optim)
    assert timetable.build_timetable(config, RunConfig(), rows).total_steps == steps


def test_train_steps_override_epochs():
    assert (
        timetable.build_timetable(
            Config(train_steps=9000), RunConfig(), 1000
        ).total_steps
        == 9000
    )


def test_warm_up_must_be_shorter_than_training():
    with pytest.raises(ValueError, match="warmup_epochs=1 are"):
        asked = OptimConfig(warmup_epochs=1)
        timetable.build_timetable(
            Config(train_steps=3, optim=asked), RunConfig(), 50_000
        )


def test_without_a_word_warm_up_is_an_epoch_or_a_tenth_of_the_steps():
    long, short = Config(train_steps=9000), Config(train_steps=20)
    assert timetable.build_timetable(long, RunConfig(), 2560).warmup_steps == 10
    assert timetable.build_timetable(short, RunConfig(), 50_000).warmup_steps == 2


def test_a_profile_must_end_within_training():
    run_config = RunConfig(profile_steps=(10, 20))
    config = Config(train_steps=15, optim=OptimConfig(warmup_epochs=0))
    with pytest.raises(ValueError, match="profile_steps=10:20"):
        timetable.build_timetable(config, run_config, 1000)


def test_a_triangle_rises_over_a_fifth_unless_told_otherwise():
    optim = OptimConfig(schedule=Schedule.TRIANGLE)
    config = Config(train_steps=100, optim=optim)
    assert timetable.build_timetable(config, RunConfig(), 1000).warmup_steps == 20
    told = dataclasses.replace(optim, warmup_epochs=1)
    planned = timetable.build_timetable(
        dataclasses.replace(config, optim=told), RunConfig(), 2560
    )
    assert planned.warmup_steps == 10


def test_a_call_ends_wherever_something_is_due():
    run_config = RunConfig(
        log_every_steps=7, checkpoint_every_steps=10, profile_steps=(13, 16)
    )
    config = Config(train_steps=20, optim=OptimConfig(warmup_epochs=0))
    planned = timetable.build_timetable(config, run_config, 256 * 5)
    stops, step = [], 0
    while step < 20:
        step = planned.next_stop(step)
        stops.append(step)
    assert stops == [5, 7, 10, 12, 13, 14, 15, 16, 20]


def test_a_call_ends_at_each_interval_that_a_timetable_has():
    @dataclasses.dataclass(frozen=True)
    class More(timetable.Timetable):
        pictures: Interval = Interval(3, last=20)

    never = Interval(None, last=20)
    planned = More(20, 0, 5.0, log=never, evaluate=Interval(8, 20), save=never)
    assert [planned.next_stop(step) for step in (0, 3, 6, 8, 18)] == [3, 6, 8, 9, 20]


@pytest.mark.parametrize(
    ("fraction", "step"),
    [
        (None, None),
        (0.01, 8),
        (0.4, 8),
        (0.41, 8),
        (0.6, 8),
        (0.61, 16),
        (0.8, 16),
        (0.9, 16),
        (0.91, None),
        (1, None),
    ],
)
def test_a_pause_is_at_the_nearest_validation(fraction, step):
    config = Config(train_steps=20, global_batch=8)
    run_config = RunConfig(eval_every_epochs=1, pause_at=fraction)
    assert timetable.build_timetable(config, run_config, 64).pause == step
