"""The content of summary.json: what a study found, and how far it can be trusted."""

import csv
import datetime
import io
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from eval.studies import importance, seed_statistics
from eval.studies.study_data import Study, Trial
from trainer import files

VERSION = 1
_SHOWN = ("number", "configuration", "seed", "flags", "state", "epochs", "steps")
_SHOWN += ("validation_accuracy", "best_validation_accuracy", "validation_images")
_SHOWN += ("validation_accuracy_interval", "values", "pareto", "seconds")
_SHOWN += ("weights_sha256", "reason")
_DEFINED = ("space", "sampler", "pruner", "seeds", "trials", "trainer_flags", "storage")
_DEFINED += ("created", "seed", "optuna", "stages")


def summarize(study: Study) -> dict[str, Any]:
    """Summarizes a study, finished or not."""
    states = Counter(trial.state for trial in study.trials)
    rows = configuration_rows(study)
    seconds = [trial.fields.get("seconds") or 0.0 for trial in study.trials]
    return {
        "version": VERSION,
        "created": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "study": study.name,
        "objectives": [dict(one) for one in study.objectives],
        "states": dict(sorted(states.items())),
        "planned": study.definition.get("trials"),
        "seconds": round(sum(seconds), 3),
        "trials": [_describe(trial) for trial in study.trials],
        "configurations": rows,
        "winner": describe_winner(study, rows),
        "importance": importance.measure(study),
        "front": [list(point) for point in find_front(study)],
        "test_openings": [dict(one) for one in study.openings],
        "finish": study.table.get("finish"),
        "provenance": _provenance(study),
    }


def _describe(trial: Trial) -> dict[str, Any]:
    return {name: trial.fields.get(name) for name in _SHOWN} | {
        "configuration": trial.configuration,
        "curve": [list(point) for point in trial.curve],
    }


def configuration_rows(study: Study) -> list[dict[str, Any]]:
    """Each configuration with its seeds: mean, spread, intervals; the best first.

    Configurations of which fewer seeds have ended than of others come last.
    """
    found, most = study.configurations(), 0
    most = max(map(len, found.values()), default=0)
    rows = []
    for number, trials in found.items():
        scores = [trial.accuracy for trial in trials]
        images = next((trial.images for trial in trials if trial.images), None)
        rows.append(
            {
                "configuration": number,
                "flags": dict(trials[0].flags),
                "trials": [trial.number for trial in trials],
                **seed_statistics.summarize(scores, images).to_json(),
            }
        )
    rows.sort(key=lambda row: (row["seeds"] < most, -row["mean"], row["configuration"]))
    return [{"rank": rank, **row} for rank, row in enumerate(rows, 1)]


def describe_winner(
    study: Study, rows: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """The chosen configuration, and what the best of so many would gain by luck.

    If all m configurations were equally good, the best would exceed their common
    accuracy p by E(m) sqrt(p (1 - p) / n + s^2 / K): E(m) is the expected largest of m
    standard normal numbers, s^2 the mean variance over seeds. Errors on shared images
    go together, so it is an upper bound. m counts pruned configurations, too.
    """
    if not rows:
        return None
    told = study.table.get("winner")
    chosen = told.get("configuration") if isinstance(told, dict) else None
    best = next((row for row in rows if row["configuration"] == chosen), rows[0])
    rate = statistics.fmean(row["mean"] for row in rows)
    spreads = [row["std"] ** 2 for row in rows if row["std"] is not None]
    of_seeds = statistics.fmean(spreads) / best["seeds"] if spreads else 0.0
    of_images = rate * (1 - rate) / best["images"] if best["images"] else 0.0
    tried = {t.configuration for t in study.trials if t.state in ("complete", "pruned")}
    factor, noise = seed_statistics.expected_maximum(len(tried)), of_seeds + of_images
    return {
        **best,
        "candidates": len(tried),
        "noise_of_seeds": math.sqrt(of_seeds),
        "noise_of_images": math.sqrt(of_images),
        "expected_maximum_of_noise": factor * math.sqrt(noise),
        "lead": best["mean"] - rows[1]["mean"] if len(rows) > 1 else None,
    }


def find_front(study: Study) -> list[tuple[int, float, float]]:
    """(trial, first objective, second objective) of trials that none beats in both."""
    if len(study.objectives) < 2:
        return []
    (first, sign), (second, other) = (_signed(one) for one in study.objectives[:2])
    points = [
        (trial.number, trial.values[first], trial.values[second])
        for trial in study.complete()
        if first in trial.values and second in trial.values
    ]

    def beats(one: tuple, two: tuple) -> bool:
        gains = (sign * (one[1] - two[1]), other * (one[2] - two[2]))
        return min(gains) >= 0 and max(gains) > 0

    front = [p for p in points if not any(beats(other, p) for other in points)]
    return sorted(front, key=lambda point: point[1])


def _signed(objective: dict[str, str]) -> tuple[str, int]:
    return objective["name"], -1 if objective.get("direction") == "minimize" else 1


def _provenance(study: Study) -> dict[str, Any]:
    found = {name: study.definition.get(name) for name in _DEFINED}
    found["table_sha256"] = study.table.get("table_sha256")
    for trial in study.trials:
        recorded = _load(trial, "config.json").get("data", {})
        told = _load(trial, "environment.json")
        if recorded and told:
            found["data"] = recorded.get("name")
            found["train_sha256"] = recorded.get("sha256", {}).get("train")
            names = ("commit", "packages", "processor", "devices", "threads")
            return found | {name: told.get(name) for name in names}
    return found


def _load(trial: Trial, name: str) -> dict[str, Any]:
    try:
        found = files.read_json(trial.run_dir / name)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def configurations_csv(summary: dict[str, Any]) -> bytes:
    """The configurations as CSV, the best first, a column for each flag."""
    rows = summary["configurations"]
    names = {name: None for row in rows for name in row["flags"]}
    columns = ["rank", "configuration", "seeds", "mean", "std", "images"]
    ends = ("over_seeds", "over_images", "over_both")
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    spread = [f"{name}_{end}" for name in ends for end in ("low", "high")]
    writer.writerow([*columns, *spread, *(f"flag.{name}" for name in names)])
    for row in rows:
        intervals = [value for name in ends for value in row[name] or (None, None)]
        flags = [row["flags"].get(name) for name in names]
        writer.writerow([*(row[name] for name in columns), *intervals, *flags])
    return out.getvalue().encode()
