"""Definitions and records of studies for tests, without any training."""

from launch.study import study_definition
from launch.study.search_space import parse_space
from launch.study.study_definition import StudyDefinition
from launch.study.trial_records import TrialRecord, TrialState, ValidationPoint


def define(*tries, trials=6, **changes):
    """A definition; by default of a random search over the learning rate."""
    fields = {
        "name": "s",
        "space": parse_space(list(tries) or ["learning_rate=log:1e-4:1e-1"], None),
        "sampler": "random",
        "pruner": "none",
        "objectives": ("accuracy",),
        "seeds": 1,
        "first_seed": 0,
        "study_seed": 0,
        "trials": trials,
        "concurrent": 0,
        "halving_factor": 3,
        "halving_stages": 1,
        "threads": 1,
        "trainer_flags": ("--dataset=digits",),
        **changes,
    }
    if fields["pruner"] == "halving" and "halving_stages" not in changes:
        count, factor = trials // fields["seeds"], fields["halving_factor"]
        stages = study_definition.choose_halving_stages(count, factor)
        fields["halving_stages"] = stages
    return StudyDefinition(**fields)


def record(number, *accuracies, state="complete", seeds=1, **changes):
    """A record whose validations had these accuracies."""
    points = [ValidationPoint(i + 1, i + 1.0, a) for i, a in enumerate(accuracies)]
    done = state == "complete"
    fields = {
        "number": number,
        "configuration": number // seeds,
        "seed": number % seeds,
        "flags": {"learning_rate": 0.001 * (number // seeds + 1)},
        "state": TrialState(state),
        "stages": 1,
        "curve": tuple(points),
        "images": 500,
        "values": {"accuracy": accuracies[-1]} if done else None,
        **changes,
    }
    return TrialRecord(**fields)
