"""Decisions of a study: which trials may start, and which are pruned.

Everything here is a pure function of the definition and of the records of trials, and
only of those that are finished whatever happens: so a study that was killed, or that
has other workers, makes the same decisions.

    tasks, pruned = plan_next(definition, records)
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from launch.study.study_definition import HALVING, MEDIAN, StudyDefinition
from launch.study.trial_records import (
    ACCURACY,
    TrialRecord,
    TrialState,
    ValidationPoint,
)

MEDIAN_STARTUP = 4  # complete trials before the median judges
MEDIAN_WARMUP = 1  # validations at the start of a trial that are not judged

Records = Mapping[int, TrialRecord]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialTask:
    """A stage of a trial that may be trained now.

    Attributes:
      number: of the trial.
      stage: of the definition's stages.
      pause_at: fraction of the steps where it pauses, None in the last stage.
      limits: by number of a validation (from 0), the accuracy below which the trial is
        pruned if none of its validations was better.
      tested: whether the test split is evaluated at the end.
    """

    number: int
    stage: int
    pause_at: float | None
    limits: Mapping[int, float]
    tested: bool = False


@dataclasses.dataclass(frozen=True)
class TrialPlan:
    """What is to be done next.

    Attributes:
      tasks: stages of trials that may be trained now, the first ones first.
      pruned: trials that take no part in the next stage, and why.
      waits: whether other trials can start when some of these are finished.
    """

    tasks: list[TrialTask]
    pruned: dict[int, str]
    waits: bool

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.tasks or self.pruned or self.waits)


def plan_next(definition: StudyDefinition, records: Records) -> TrialPlan:
    """Plans what is to be done next; tasks include those that others work on."""
    if definition.pruner == HALVING:
        return _plan_halving(definition, records)
    finished = _count_finished(definition, records)
    ready = [
        c
        for c in range(definition.configurations)
        if _seen_configurations(c, definition) <= finished
    ]
    tasks = [
        TrialTask(
            number=number,
            stage=0,
            pause_at=None,
            limits=find_limits(number, definition, records),
        )
        for configuration in ready
        for number in definition.trial_numbers(configuration)
        if not is_final(number, records)
    ]
    return TrialPlan(tasks, {}, waits=len(ready) < definition.configurations)


def is_final(number: int, records: Records) -> bool:
    """Whether nothing is left to do for a trial."""
    return number in records and records[number].is_final


def _count_finished(definition: StudyDefinition, records: Records) -> int:
    """Counts the configurations before the first one with an unfinished trial."""
    numbers = range(definition.trials)
    first_open = (number for number in numbers if not is_final(number, records))
    return next(first_open, definition.trials) // definition.seeds


def _seen_configurations(configuration: int, definition: StudyDefinition) -> int:
    """Counts the first configurations whose results another one may depend on.

    It is not the number of those that happen to be finished.
    """
    if not definition.concurrent:
        return 0
    return max(0, configuration + 1 - definition.concurrent)


def find_limits(
    number: int, definition: StudyDefinition, records: Records
) -> dict[int, float]:
    """Finds the medians of earlier complete trials at each validation.

    This is the median stopping rule (Golovin et al. 2017, section 3.2.2) with the
    accuracy itself in place of its running mean.
    """
    if definition.pruner != MEDIAN:
        return {}
    seen = _seen_configurations(number // definition.seeds, definition)
    curves = [
        records[earlier].curve
        for earlier in range(seen * definition.seeds)
        if records[earlier].state is TrialState.COMPLETE
    ]
    if len(curves) < MEDIAN_STARTUP:
        return {}
    shortest = min(map(len, curves))
    return {
        i: statistics.median(curve[i].accuracy for curve in curves)
        for i in range(MEDIAN_WARMUP, shortest - 1)
    }


def find_pruned_length(
    curve: Sequence[ValidationPoint], limits: Mapping[int, float]
) -> int | None:
    """Finds after how many validations a trial is pruned; None: not yet."""
    best = 0.0
    for i, point in enumerate(curve):
        best = max(best, point.accuracy)
        if i in limits and best < limits[i]:
            return i + 1
    return None


def _plan_halving(definition: StudyDefinition, records: Records) -> TrialPlan:
    """Plans synchronous successive halving: a stage begins when the last is over."""
    taking_part = list(range(definition.configurations))
    stages = definition.stages
    for stage, fraction in enumerate(stages):
        numbers = [n for c in taking_part for n in definition.trial_numbers(c)]
        last = stage == len(stages) - 1
        tasks = [
            TrialTask(
                number=number,
                stage=stage,
                pause_at=None if last else fraction,
                limits={},
            )
            for number in numbers
            if not _finished_stage(number, stage, records)
        ]
        if tasks or last:
            return TrialPlan(tasks, {}, waits=not last)
        ranked = sorted(
            taking_part, key=lambda c: (-_stage_accuracy(c, definition, records), c)
        )
        taking_part = sorted(ranked[: definition.kept(stage + 1)])
        left = set(ranked) - set(taking_part)
        pruned = {
            number: f"not among the best {len(taking_part)} of {len(ranked)} after "
            f"{fraction:.3g} of the training"
            for c in sorted(left)
            for number in definition.trial_numbers(c)
            if not is_final(number, records)
        }
        if pruned:
            return TrialPlan([], pruned, waits=True)
    raise AssertionError("the last stage returns")


def _finished_stage(number: int, stage: int, records: Records) -> bool:
    return number in records and (
        records[number].is_final or records[number].stages > stage
    )


def _stage_accuracy(
    configuration: int, definition: StudyDefinition, records: Records
) -> float:
    """Mean accuracy over the seeds after the last stage; -1 if one of them failed."""
    found = [records[n] for n in definition.trial_numbers(configuration)]
    if any(r.state is TrialState.FAILED or r.accuracy is None for r in found):
        return -1.0
    return statistics.fmean(r.accuracy or 0.0 for r in found)


def configuration_values(
    configuration: int, definition: StudyDefinition, records: Records
) -> dict[str, float] | None:
    """Mean objectives over the seeds; None unless all its trials are complete."""
    found = [records.get(n) for n in definition.trial_numbers(configuration)]
    values = [r.values for r in found if r is not None and r.values is not None]
    if len(values) < definition.seeds:
        return None
    return {
        name: statistics.fmean(each[name] for each in values)
        for name in definition.objectives
    }


def rank_configurations(definition: StudyDefinition, records: Records) -> list[int]:
    """Lists complete configurations, the best accuracy first, ties by number."""
    scores = {
        c: found[ACCURACY]
        for c in range(definition.configurations)
        if (found := configuration_values(c, definition, records)) is not None
    }
    return sorted(scores, key=lambda c: (-scores[c], c))
