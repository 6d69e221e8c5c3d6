"""Decisions of a study depend on numbers and results, never on who was first."""

import itertools

import pytest

from launch.study import trial_plan
from launch.study.trial_plan import plan_next
from tests.support.studies import define, record


def numbers(plan):
    return [task.number for task in plan.tasks]


def test_independent_trials_may_all_start():
    plan = plan_next(define(trials=4), {1: record(1, 0.5)})
    assert numbers(plan) == [0, 2, 3]
    assert not plan.waits
    done = {n: record(n, 0.5) for n in range(4)}
    assert plan_next(define(trials=4), done).is_over


def test_a_learning_sampler_waits_for_all_but_the_last_few():
    definition = define(trials=8, sampler="tpe", concurrent=2)
    assert numbers(plan_next(definition, {})) == [0, 1]
    assert numbers(plan_next(definition, {1: record(1, 0.5)})) == [0]
    plan = plan_next(definition, {0: record(0, 0.5, state="failed")})
    assert numbers(plan) == [1, 2]
    assert plan.waits


def test_seeds_of_a_configuration_start_together():
    definition = define(trials=6, seeds=2, sampler="tpe", concurrent=1)
    assert numbers(plan_next(definition, {})) == [0, 1]
    half = {0: record(0, 0.5, seeds=2)}
    assert numbers(plan_next(definition, half)) == [1]


def test_the_median_of_earlier_trials_is_the_limit():
    definition = define(trials=8, pruner="median", concurrent=2)
    done = {n: record(n, 0.1, 0.2 + n / 100, 0.9) for n in range(6)}
    assert trial_plan.find_limits(4, definition, done) == {}
    assert trial_plan.find_limits(5, definition, done) == {1: pytest.approx(0.215)}
    later = done | {5: record(5, 0.1, 0.99, 0.99)}
    assert trial_plan.find_limits(6, definition, later) == {1: pytest.approx(0.22)}
    curve = record(7, 0.1, 0.15, 0.9).curve
    assert trial_plan.find_pruned_length(curve, {1: 0.2}) == 2
    assert trial_plan.find_pruned_length(curve, {1: 0.15}) is None
    assert trial_plan.find_pruned_length(curve[:1], {1: 0.2}) is None


def simulate(definition, score, order):
    """Runs a study of which `order` says which task ends next; returns its records."""
    records, dice = {}, iter(order)
    while not (plan := plan_next(definition, records)).is_over:
        for number in plan.pruned:
            old = records[number]
            accuracies = [point.accuracy for point in old.curve]
            records[number] = record(
                number, *accuracies, state="pruned", stages=old.stages
            )
        if plan.tasks:
            task = plan.tasks[next(dice) % len(plan.tasks)]
            last = task.pause_at is None
            values = [score(task.number, s) for s in range(task.stage + 1)]
            state = "complete" if last else "running"
            records[task.number] = record(
                task.number, *values, state=state, stages=task.stage + 1
            )
    return records


def test_halving_keeps_the_best_whatever_the_order():
    definition = define(trials=9, pruner="halving")
    assert definition.stages == (pytest.approx(1 / 3), 1)
    results = [
        simulate(
            definition, lambda n, s: (n * 7 % 9) / 10 + s / 100, itertools.count(k, k)
        )
        for k in (1, 2, 5)
    ]
    assert results[0] == results[1] == results[2]
    kept = [n for n, r in results[0].items() if r.state.value == "complete"]
    best = sorted(range(9), key=lambda n: -(n * 7 % 9))[:3]
    assert set(kept) == set(best)


def test_halving_drops_configurations_with_a_failed_seed_and_breaks_ties_by_number():
    definition = define(trials=6, seeds=2, pruner="halving")
    stage = {n: record(n, 0.5, state="running", seeds=2) for n in range(6)}
    plan = plan_next(definition, stage)
    assert sorted(plan.pruned) == [2, 3, 4, 5]
    stage[1] = record(1, 0.9, state="failed", seeds=2)
    assert sorted(plan_next(definition, stage).pruned) == [0, 4, 5]


def test_a_configuration_ranks_by_its_mean_and_only_if_all_seeds_are_complete():
    definition = define(trials=6, seeds=2)
    records = {n: record(n, s, seeds=2) for n, s in enumerate((5, 6, 9, 1, 7, 7))}
    assert trial_plan.rank_configurations(definition, records) == [2, 0, 1]
    records[4] = record(4, 7, state="failed", seeds=2)
    assert trial_plan.rank_configurations(definition, records) == [0, 1]
