"""Importance of flags: what share of the variance of accuracy each explains alone.

The trials are grouped by the values of a flag, numbers by quantiles. With SSB the sum
of squares between the k groups, MSW the mean square within, SST the total, it is

    epsilon^2 = max(0, (SSB - (k - 1) MSW) / SST)

(Kelley 1935), which unlike eta^2 is 0 on average for a flag without effect. Its p-value
is the share of 2,000 permutations of the accuracies that explain as much. The effects
of flags that act only together are not seen.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.studies.study_data import COMPLETE, PRUNED, Study, Trial

PERMUTATIONS, SEED = 2000, 0
LEAST_CONFIGURATIONS = 6
_GROUPS = 4  # of a number, at most


def measure(study: Study) -> dict[str, Any] | None:
    """Measures the importance of each flag that varies; None for too few of them.

    Trials of several lengths are compared at the last epoch that all have reached. The
    seeds of a configuration count as one: they have the same flags, and as trials of
    their own they would make every flag look certain.
    """
    scored, epoch = _comparable(study)
    seeds: dict[int, list[tuple[Trial, float]]] = {}
    for trial, score in scored:
        seeds.setdefault(trial.configuration, []).append((trial, score))
    if len(seeds) < LEAST_CONFIGURATIONS:
        return None
    flags = [rows[0][0].flags for rows in seeds.values()]
    scores = np.array([np.mean([s for _, s in rows]) for rows in seeds.values()])
    found = []
    for name in {name: None for each in flags for name in each}:
        values = [each.get(name) for each in flags]
        groups = group(values)
        if groups.max() > 0:
            share, p_value = explain(scores, groups)
            found.append({"flag": name, "share": share, "p_value": p_value})
    found.sort(key=lambda row: -row["share"])
    return {"epoch": epoch, "configurations": len(seeds), "flags": found}


def _comparable(study: Study) -> tuple[list[tuple[Trial, float]], float | None]:
    """Trials with their accuracy at the last epoch that all of them have reached."""
    ended = [t for t in study.trials if t.state in (COMPLETE, PRUNED) and t.curve]
    complete = study.complete()
    if len(ended) < len(complete):
        return [(trial, trial.accuracy) for trial in complete], None
    if not ended:
        return [], None
    epoch = min(trial.curve[-1][0] for trial in ended)
    reached = [
        (trial, [accuracy for at, accuracy in trial.curve if at <= epoch + 1e-9])
        for trial in ended
    ]
    return [(trial, seen[-1]) for trial, seen in reached if seen], epoch


def group(values: Sequence[Any]) -> np.ndarray:
    """The group of each value, int [N] from 0: its own, or a quantile of numbers."""
    distinct = sorted(set(map(str, values)))
    numeric = all(_is_number(value) for value in values)
    if not numeric or len(distinct) <= _GROUPS:
        return np.array([distinct.index(str(value)) for value in values])
    numbers = np.array(values, np.float64)
    count = min(_GROUPS, max(2, len(values) // 3))
    edges = np.quantile(numbers, np.linspace(0, 1, count + 1)[1:-1])
    return np.unique(
        np.searchsorted(edges, numbers, side="right"), return_inverse=True
    )[1]


def _is_number(value: object) -> bool:
    finite = isinstance(value, int | float) and math.isfinite(value)
    return finite and not isinstance(value, bool)


def explain(scores: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """The share of the variance of `scores` [N] between `groups` [N]; its p-value."""
    seen = _share(scores, groups)
    generator = np.random.Generator(np.random.Philox(SEED))
    shuffled = [
        _share(generator.permutation(scores), groups) for _ in range(PERMUTATIONS)
    ]
    at_least = sum(one >= seen - 1e-12 for one in shuffled)
    return max(0.0, seen), (1 + at_least) / (1 + PERMUTATIONS)


def _share(scores: np.ndarray, groups: np.ndarray) -> float:
    counts = np.bincount(groups)
    means = np.bincount(groups, scores) / np.maximum(counts, 1)
    total = float(((scores - scores.mean()) ** 2).sum())
    between = float((counts * (means - scores.mean()) ** 2).sum())
    freedom = len(scores) - len(counts)
    if total == 0 or freedom <= 0:
        return 0.0
    within = (total - between) / freedom
    return (between - (len(counts) - 1) * within) / total
