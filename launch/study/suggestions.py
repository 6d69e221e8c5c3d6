"""Suggestions of configurations by Optuna's samplers, independent of time.

Optuna's samplers look at what happens to be finished when they are asked, and have a
generator whose state is lost with the process. Here a sampler sees a study in memory,
to which configurations are told in the order of their numbers: before number n is asked
for, exactly those that `concurrent` leaves are told. Its generator is seeded by (seed
of the study, n). So a suggestion is a pure function of the definition and of results.
"""

import hashlib
import warnings

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from launch.study import trial_plan
from launch.study.search_space import SearchParameter, Values
from launch.study.study_definition import CMAES, GRID, RANDOM, StudyDefinition
from launch.study.trial_plan import Records
from launch.study.trial_records import DIRECTIONS, TrialState

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

_STARTUP = 10  # configurations that TPE draws at random before it learns


class Suggestions:
    """Suggests the configurations of a study, in the order of their numbers."""

    def __init__(self, definition: StudyDefinition) -> None:
        self._definition = definition
        self._grid: list[Values] | None = None
        self._distributions = build_distributions(definition)
        self._asked: list[optuna.trial.Trial] = []
        self._suggested: list[Values] = []
        self._told = 0
        if definition.sampler == GRID or not definition.space.parameters:
            self._grid = definition.space.grid()
        else:
            self._study = optuna.create_study(
                directions=[DIRECTIONS[name] for name in definition.objectives]
            )

    def suggest(self, configuration: int, records: Records) -> Values:
        """Suggests the values of a configuration whose predecessors are finished.

        What a record already has is taken from there: the samplers' arithmetic may
        differ in the last bit between machines.
        """
        for number in self._definition.trial_numbers(configuration):
            if number in records:
                return records[number].flags
        if self._grid is not None:
            return self._grid[configuration]
        while len(self._suggested) <= configuration:
            self._ask(len(self._suggested), records)
        return self._suggested[configuration]

    def _ask(self, configuration: int, records: Records) -> None:
        if concurrent := self._definition.concurrent:
            while self._told < configuration + 1 - concurrent:
                self._tell(self._told, records)
                self._told += 1
        self._study.sampler = _build_sampler(self._definition, configuration)
        trial = self._study.ask(self._distributions)
        self._asked.append(trial)
        self._suggested.append(dict(trial.params))

    def _tell(self, configuration: int, records: Records) -> None:
        trial = self._asked[configuration]
        definition = self._definition
        values = trial_plan.configuration_values(configuration, definition, records)
        if values is not None:
            self._study.tell(trial, [values[name] for name in definition.objectives])
            return
        found = [records[n] for n in definition.trial_numbers(configuration)]
        pruned = [r for r in found if r.state is TrialState.PRUNED and r.curve]
        if not pruned:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        for i, point in enumerate(pruned[0].curve):
            trial.report(point.accuracy, i)
        self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)


def derive_seed(study_seed: int, configuration: int) -> int:
    """Derives a sampler's seed, below 2^32, for one configuration."""
    digest = hashlib.sha256(f"{study_seed} {configuration}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def build_distributions(definition: StudyDefinition) -> dict[str, BaseDistribution]:
    """Converts the parameters of a study to Optuna's distributions, by flag."""
    parameters = definition.space.parameters
    return {each.flag: _build_distribution(each) for each in parameters}


def _build_distribution(parameter: SearchParameter) -> BaseDistribution:
    if parameter.bounds is None:
        return CategoricalDistribution(parameter.choices)
    low, high = parameter.bounds
    if parameter.type == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(low), int(high), log=parameter.log, step=step)
    return FloatDistribution(low, high, log=parameter.log, step=parameter.step)


def _build_sampler(
    definition: StudyDefinition, configuration: int
) -> optuna.samplers.BaseSampler:
    seed = derive_seed(definition.study_seed, configuration)
    if definition.sampler == RANDOM:
        return optuna.samplers.RandomSampler(seed=seed)
    if definition.sampler == CMAES:
        return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
