"""Suggestions are a pure function of the definition and of finished configurations."""

import pytest

from launch.study.suggestions import Suggestions
from tests.support.studies import define, record

SPACE = ("learning_rate=log:1e-4:1e-1", "momentum=float:0:0.9", "global_batch=int:8:64")


def run(definition, score, *, forget_every=None):
    """A whole study; it is begun anew by another process after some trials."""
    records, suggestions = {}, Suggestions(definition)
    for number in range(definition.trials):
        if forget_every and number % forget_every == 0:
            suggestions = Suggestions(definition)
        values = suggestions.suggest(number, records)
        records[number] = record(number, score(values), flags=values)
    return [each.flags for each in records.values()]


def score(values):
    return 1 - values["momentum"] - values["learning_rate"]


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes"])
def test_a_killed_study_has_the_same_suggestions(sampler):
    changes = {} if sampler == "random" else {"concurrent": 2}
    definition = define(*SPACE, trials=24, sampler=sampler, **changes)
    whole = run(definition, score)
    assert whole == run(definition, score, forget_every=5)
    assert len({tuple(values.values()) for values in whole}) > 20


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_sampler_learns(sampler):
    definition = define(*SPACE, trials=40, sampler=sampler, concurrent=1)
    found = [score(values) for values in run(definition, score)]
    assert sum(found[-10:]) > sum(found[:10])


def test_only_what_may_be_known_is_told():
    """Results of the last `concurrent - 1` configurations change nothing."""
    definition = define(*SPACE, trials=24, sampler="tpe", concurrent=3)
    flags = run(definition, score)
    records = {n: record(n, score(v), flags=v) for n, v in enumerate(flags[:22])}
    suggested = Suggestions(definition).suggest(22, records)
    late = dict(records)
    del late[20], late[21]
    assert Suggestions(definition).suggest(22, late) == suggested
    other = records | {19: record(19, 2.0, flags=flags[19])}
    assert Suggestions(definition).suggest(22, other) != suggested


def test_other_seeds_give_other_values_and_a_grid_has_no_chance():
    first = run(define(*SPACE), score)
    assert first != run(define(*SPACE, study_seed=1), score)
    grid = define("momentum=0.1,0.2", "learning_rate=1,2", trials=4, sampler="grid")
    assert run(grid, score) == grid.space.grid()
    assert (
        Suggestions(define(trials=2, space=grid.space.__class__(()))).suggest(0, {})
        == {}
    )


def test_what_is_recorded_counts():
    definition = define(*SPACE)
    values = {"learning_rate": 0.5, "momentum": 0.25, "global_batch": 9}
    recorded = {0: record(0, 0.5, flags=values)}
    assert Suggestions(definition).suggest(0, recorded) == values
