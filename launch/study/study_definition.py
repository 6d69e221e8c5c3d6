"""Definition of a study: everything that decides which trials it has.

It is written to study.json once. Processes that join a study, on this machine or on
another, have to bring an equal one.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from launch.command_line import UsageError
from launch.study import search_space
from launch.study.search_space import SearchSpace, Values
from launch.study.trial_records import ACCURACY, DIRECTIONS

VERSION = 1
GRID, RANDOM, TPE, CMAES = "grid", "random", "tpe", "cmaes"
SAMPLERS = (GRID, RANDOM, TPE, CMAES)
NONE, MEDIAN, HALVING = "none", "median", "halving"
PRUNERS = (NONE, MEDIAN, HALVING)
MAX_TRIALS = 10_000
MAX_SEEDS = 1000
_ADAPTIVE = (TPE, CMAES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyDefinition:
    """Everything that decides the trials of a study and their numbers.

    Attributes:
      name: of the study in its storage.
      space: the flags that vary.
      sampler: chooses configurations: one of SAMPLERS.
      pruner: ends trials early: one of PRUNERS.
      objectives: names in DIRECTIONS; the first one ranks.
      seeds: trials of each configuration.
      first_seed: seed of the first of them; the others follow.
      study_seed: of the sampler.
      trials: number of trials, a multiple of `seeds`.
      concurrent: a configuration is chosen, and judged by the median, as soon as all
        but this many before it are finished. 0: it depends on no other.
      halving_factor: of each configuration in a stage, one of so many goes on.
      halving_stages: how many stages halving has.
      threads: of each trial: the bits of a run depend on it.
      trainer_flags: arguments of every trial; flags, not files of flags, which may
        change while the study goes on.
    """

    name: str
    space: SearchSpace
    sampler: str
    pruner: str
    objectives: tuple[str, ...]
    seeds: int
    first_seed: int
    study_seed: int
    trials: int
    concurrent: int
    halving_factor: int
    halving_stages: int
    threads: int
    trainer_flags: tuple[str, ...]

    @property
    def configurations(self) -> int:
        """Number of configurations."""
        return self.trials // self.seeds

    @property
    def stages(self) -> tuple[float, ...]:
        """Fractions of the training after which trials are compared; the last is 1."""
        count = self.halving_stages if self.pruner == HALVING else 1
        return tuple(1 / self.halving_factor**i for i in reversed(range(count)))

    def kept(self, stage: int) -> int:
        """Number of configurations that take part in `stage`."""
        return math.ceil(self.configurations / self.halving_factor**stage)

    def trial_numbers(self, configuration: int) -> range:
        """Numbers of the trials of a configuration."""
        return range(configuration * self.seeds, (configuration + 1) * self.seeds)

    def seed(self, number: int) -> int:
        """Seed of the trainer for trial `number`."""
        return self.first_seed + number % self.seeds

    def trial_arguments(
        self, number: int, values: Values, *, tested: bool = False
    ) -> list[str]:
        """Arguments of trainer.main that make it trial `number`.

        Only a winner that is trained again is `tested`.
        """
        return [
            *self.trainer_flags,
            *self.space.arguments(values),
            f"--seed={self.seed(number)}",
            f"--threads={self.threads}",
            "--test" if tested else "--notest",
        ]

    def to_json(self) -> dict[str, Any]:
        """Describes it as in study.json."""
        return {
            "version": VERSION,
            "name": self.name,
            "space": self.space.to_json(),
            "sampler": self.sampler,
            "pruner": self.pruner,
            "objectives": [
                {"name": name, "direction": DIRECTIONS[name]}
                for name in self.objectives
            ],
            "seeds": self.seeds,
            "first_seed": self.first_seed,
            "study_seed": self.study_seed,
            "trials": self.trials,
            "concurrent": self.concurrent,
            "halving_factor": self.halving_factor,
            "stages": list(self.stages),
            "threads": self.threads,
            "trainer_flags": list(self.trainer_flags),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "StudyDefinition":
        """Reads what `to_json` described.

        Raises:
          UsageError: it is of another version, or damaged.
        """
        try:
            if fields["version"] != VERSION:
                raise UsageError(
                    f"study.json is of version {fields['version']!r:.20}, this release "
                    f"reads {VERSION}; use the release that made it"
                )
            plain = {
                field.name: fields[field.name]
                for field in dataclasses.fields(cls)
                if field.name in fields
            }
            return cls(
                **{
                    **plain,
                    "space": search_space.from_json(fields["space"], "study.json"),
                    "objectives": tuple(each["name"] for each in fields["objectives"]),
                    "halving_stages": len(fields["stages"]),
                    "trainer_flags": tuple(fields["trainer_flags"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"study.json is damaged ({error}); restore it") from error


def check(definition: StudyDefinition) -> None:
    """Checks that the parts of a definition fit together.

    Raises:
      UsageError: they do not.
    """
    _check_objectives(definition)
    _check_counts(definition)
    sampler, pruner = definition.sampler, definition.pruner
    ranges = [each for each in definition.space.parameters if each.bounds is not None]
    if sampler == CMAES and len(definition.objectives) > 1:
        raise UsageError(
            f"--sampler=cmaes knows one objective, got {len(definition.objectives)}; "
            "take --sampler=tpe"
        )
    if sampler == CMAES and len(ranges) < 2:
        raise UsageError(
            f"--sampler=cmaes needs two or more ranges of numbers, got {len(ranges)}; "
            "take --sampler=tpe"
        )
    if sampler in _ADAPTIVE and pruner == HALVING:
        raise UsageError(
            f"--pruner=halving compares all configurations at once and --sampler="
            f"{sampler} chooses one after the other; take --sampler=random or "
            "--pruner=median"
        )
    if pruner != NONE and len(definition.objectives) > 1:
        raise UsageError(
            f"--pruner={pruner} judges by accuracy alone, got --objective="
            f"{','.join(definition.objectives)}; leave one of them out"
        )


def _check_objectives(definition: StudyDefinition) -> None:
    names = definition.objectives
    for name in names:
        if name not in DIRECTIONS:
            raise UsageError(
                f"--objective={name!r:.80} is not one of {', '.join(DIRECTIONS)}"
            )
        if names.count(name) > 1:
            raise UsageError(f"--objective names {name} twice; leave one out")
    if not names or names[0] != ACCURACY:
        raise UsageError(
            f"--objective={','.join(names)} must begin with accuracy: the winner is "
            "chosen by it"
        )


def _check_counts(definition: StudyDefinition) -> None:
    trials, seeds = definition.trials, definition.seeds
    if trials % seeds:
        low = max(1, trials // seeds) * seeds
        raise UsageError(
            f"--trials={trials} is no multiple of --seeds={seeds}, each configuration "
            f"has as many trials; e.g. --trials={low}"
        )
    if trials > MAX_TRIALS:
        raise UsageError(f"{trials:,} trials are too many; at most {MAX_TRIALS:,}")
    if definition.first_seed + seeds > 2**31:
        raise UsageError(
            f"--seed={definition.first_seed} with --seeds={seeds} leaves the range of "
            "seeds, 0 to 2147483647; lower one of them"
        )
    if definition.pruner == HALVING:
        factor, count = definition.halving_factor, definition.configurations
        if count < factor:
            raise UsageError(
                f"--pruner=halving keeps one configuration of {factor}, and there are "
                f"{count}; raise --trials"
            )


def find_differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Lists the fields in which two descriptions of a study differ, with values."""
    found = []
    for name in (*ours, *(name for name in theirs if name not in ours)):
        pair = theirs.get(name), ours.get(name)
        if pair[0] != pair[1]:
            its, yours = _leave_out_common(*pair)
            found.append(f"{name}: {its!r:.120} != {yours!r:.120}")
    return found


def _leave_out_common(its: Any, yours: Any) -> tuple[Any, Any]:
    """Leaves out what two lists share: of many flags the one that differs is shown."""
    if not (isinstance(its, list) and isinstance(yours, list)):
        return its, yours
    pair = [x for x in its if x not in yours], [x for x in yours if x not in its]
    return pair if any(pair) else (its, yours)


def choose_concurrent(sampler: str, pruner: str, workers: int, seeds: int) -> int:
    """Chooses how many configurations may be under way at once; 0: any number."""
    if sampler in _ADAPTIVE or pruner == MEDIAN:
        return max(1, math.ceil(workers / seeds))
    return 0


def choose_halving_stages(configurations: int, factor: int) -> int:
    """Chooses the number of stages so that at most `factor` configurations finish.

    Each stage keeps one configuration of `factor` and multiplies the training time of
    those by it (successive halving, Jamieson and Talwalkar 2016).
    """
    stages = 2
    while configurations > factor**stages and stages < 5:
        stages += 1
    return stages


def parse_objectives(text: str) -> tuple[str, ...]:
    """Parses names separated by commas."""
    return tuple(word.strip() for word in text.split(","))


def count_trials(
    space: SearchSpace, sampler: str, trials: int | None, seeds: int
) -> int:
    """Counts the trials of a study; a grid has as many as it has configurations.

    Raises:
      UsageError: the number is missing, or is not that of the grid.
    """
    if sampler == GRID or not space.parameters:
        total = len(space.grid()) * seeds
        if trials is not None and trials != total:
            raise UsageError(
                f"--trials={trials}, but the grid has {total // seeds} configurations "
                f"of --seeds={seeds}: {total} trials; leave --trials out, or take "
                "--sampler=random"
            )
        return total
    if trials is None:
        raise UsageError(f"--trials is missing; --sampler={sampler} needs the number")
    return trials
