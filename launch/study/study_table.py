"""Table of a study: trials.json, trials.csv, and lines for a terminal."""

import hashlib
import json
import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from launch.study import trial_plan, trial_records
from launch.study.search_space import Value, format_value
from launch.study.study_definition import StudyDefinition
from launch.study.trial_plan import Records
from launch.study.trial_records import ACCURACY, DIRECTIONS, TrialRecord

VERSION = 1
JSON_FILE, CSV_FILE = "trials.json", "trials.csv"
FINISH_FILE = "finish.json"
_QUANTILE = statistics.NormalDist().inv_cdf(0.975)
# Fields that are equal in a study that was killed and in one that never was.
_HASHED = ("number", "configuration", "seed", "flags", "state", "stage", "epochs")
_HASHED += ("steps", "validation_accuracy", "best_validation_accuracy")
_HASHED += ("validation_images", "weights_sha256")


def wilson_interval(rate: float, total: int) -> list[float]:
    """Computes Wilson's 95 % score interval (1927) of `rate` among `total` images."""
    square = _QUANTILE**2
    centre = (rate + square / (2 * total)) / (1 + square / total)
    spread = math.sqrt(rate * (1 - rate) / total + square / (4 * total**2))
    reach = _QUANTILE / (1 + square / total) * spread
    return [max(0.0, centre - reach), min(1.0, centre + reach)]


def expected_maximum(count: int) -> float:
    """Computes the expected maximum of `count` independent standard normal numbers.

    E = n times the integral of x phi(x) Phi(x)^(n-1) over x (David and Nagaraja, Order
    Statistics, 2003, equation 3.1.1), by Simpson's rule.
    """
    normal, low, width, parts = statistics.NormalDist(), -9.0, 18.0, 2000
    total = 0.0
    for i in range(parts + 1):
        x = low + width * i / parts
        weight = 1 if i in (0, parts) else 4 if i % 2 else 2
        total += weight * x * normal.pdf(x) * normal.cdf(x) ** (count - 1)
    return count * total * width / parts / 3 if count > 1 else 0.0


def build_table(definition: StudyDefinition, records: Records) -> dict[str, Any]:
    """Builds the content of trials.json."""
    front = find_front(definition, records)
    rows = [
        _describe_trial(records[number], definition, front)
        for number in sorted(records)
    ]
    configurations = _describe_configurations(definition, records)
    return {
        "version": VERSION,
        "study": definition.name,
        "objectives": [
            {"name": name, "direction": DIRECTIONS[name]}
            for name in definition.objectives
        ],
        "sealed": True,
        "trials": rows,
        "configurations": configurations,
        "winner": _describe_winner(configurations, definition, records),
        "table_sha256": hash_rows(rows),
    }


def hash_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Hashes what has to be equal however often a study was killed."""
    kept = [{name: row[name] for name in _HASHED} for row in rows]
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _describe_trial(
    record: TrialRecord, definition: StudyDefinition, front: set[int]
) -> dict[str, Any]:
    last = record.curve[-1] if record.curve else None
    known = record.accuracy is not None and record.images
    return {
        "number": record.number,
        "configuration": record.configuration,
        "seed": record.seed,
        "flags": dict(record.flags),
        "state": record.state.value,
        "stage": record.stages,
        "epochs": last.epoch if last else 0.0,
        "steps": last.step if last else 0,
        "validation_accuracy": record.accuracy,
        "best_validation_accuracy": record.best,
        "validation_images": record.images,
        "validation_accuracy_interval": (
            wilson_interval(record.accuracy or 0.0, record.images or 1)
            if known
            else None
        ),
        "values": None if record.values is None else dict(record.values),
        "pareto": record.configuration in front,
        "seconds": record.seconds,
        "weights_sha256": record.weights_sha256,
        "reason": record.reason,
        "run_dir": record.run_dir,
    }


def _describe_configurations(
    definition: StudyDefinition, records: Records
) -> list[dict[str, Any]]:
    """Describes each configuration: mean and spread over seeds, interval over images.

    The standard deviation over seeds (n - 1) is None for one seed. The interval over
    images is Wilson's at the mean accuracy: all seeds share the validation rows.
    """
    ranked = trial_plan.rank_configurations(definition, records)
    ranks = {c: rank for rank, c in enumerate(ranked, start=1)}
    found = []
    for configuration in range(definition.configurations):
        numbers = [n for n in definition.trial_numbers(configuration) if n in records]
        if numbers:
            rows = [records[n] for n in numbers]
            found.append(
                {
                    "number": configuration,
                    "flags": dict(rows[0].flags),
                    "trials": numbers,
                    **_describe_scores(rows),
                    "eligible": configuration in ranks,
                    "rank": ranks.get(configuration),
                }
            )
    return found


def _describe_scores(rows: Sequence[TrialRecord]) -> dict[str, Any]:
    """Describes the accuracies of the complete trials of one configuration."""
    scores = [row.values[ACCURACY] for row in rows if row.values is not None]
    images = next((row.images for row in rows if row.images), None)
    mean = statistics.fmean(scores) if scores else None
    known = mean is not None and images is not None
    return {
        "complete": len(scores),
        "mean": mean,
        "std": statistics.stdev(scores) if len(scores) > 1 else None,
        "validation_images": images,
        "interval_images": wilson_interval(mean, images) if known else None,
    }


def _describe_winner(
    configurations: Sequence[Mapping[str, Any]],
    definition: StudyDefinition,
    records: Records,
) -> dict[str, Any] | None:
    """Describes the best configuration, and what luck alone would have given.

    The accuracy of the best of m configurations is too high, as it was chosen for being
    high. If all m were equally good, the best would exceed their common accuracy by
    E(m) sigma, with sigma^2 = p (1 - p) / images + s^2 / seeds; p is the mean accuracy
    of the complete ones, s the standard deviation over seeds. All configurations are
    measured on the same rows, so their errors go together and this is an upper bound.
    """
    complete = [row for row in configurations if row["eligible"]]
    if not complete:
        return None
    best = next(row for row in complete if row["rank"] == 1)
    rate = statistics.fmean(row["mean"] for row in complete)
    spreads = [row["std"] ** 2 for row in complete if row["std"] is not None]
    of_seeds = statistics.fmean(spreads) / definition.seeds if spreads else 0.0
    images = best["validation_images"]
    noise = math.sqrt(of_seeds + (rate * (1 - rate) / images if images else 0.0))
    candidates = len(records) // definition.seeds
    return {
        "configuration": best["number"],
        "flags": best["flags"],
        "mean": best["mean"],
        "std": best["std"],
        "interval_images": best["interval_images"],
        "candidates": candidates,
        "complete": len(complete),
        "noise": noise,
        "expected_maximum_of_noise": expected_maximum(candidates) * noise,
    }


def find_front(definition: StudyDefinition, records: Records) -> set[int]:
    """Finds the configurations that no other one beats in every objective."""
    points = {}
    for c in range(definition.configurations):
        values = trial_plan.configuration_values(c, definition, records)
        if values is not None:
            points[c] = tuple(
                -values[name] if DIRECTIONS[name] == "maximize" else values[name]
                for name in definition.objectives
            )
    return {c for c in points if not any(_beats(points[o], points[c]) for o in points)}


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    no_worse = all(a <= b for a, b in zip(one, other, strict=True))
    return no_worse and one != other


def write_table(
    study_dir: pathlib.Path, definition: StudyDefinition, records: Records
) -> dict[str, Any]:
    """Writes trials.json and trials.csv; returns the content of the first."""
    table = build_table(definition, records)
    table["finish"] = trial_records.read_json(study_dir / FINISH_FILE)
    for row in table["trials"]:  # of another machine: its path there
        inside = f"trials/{row['number']}"
        if (study_dir / inside).is_dir():
            row["run_dir"] = inside
    text = json.dumps(table, indent=2, allow_nan=False) + "\n"
    trial_records.write_atomically(study_dir / JSON_FILE, text)
    rows = [
        {
            **{k: v for k, v in row.items() if k not in ("flags", "values")},
            **{f"flag.{k}": format_value(v) for k, v in row["flags"].items()},
            **{f"objective.{k}": v for k, v in (row["values"] or {}).items()},
        }
        for row in table["trials"]
    ]
    csv_text = trial_records.format_csv(rows)
    trial_records.write_atomically(study_dir / CSV_FILE, csv_text)
    return table


def format_flags(flags: Mapping[str, Value]) -> str:
    """Formats the values of a configuration for people: four digits, short names."""
    shown = []
    for name, value in flags.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        shown.append(f"{name.removeprefix('model_kwargs.')}={text}")
    return " ".join(shown) or "the flags as they are"


def format_ranking(table: Mapping[str, Any], most: int = 10) -> list[str]:
    """Formats the best configurations, and the winner beside what luck would give."""
    ranked = [row for row in table["configurations"] if row["rank"]]
    ranked.sort(key=lambda row: row["rank"])
    lines = [_format_ranked(row) for row in ranked[:most]]
    if len(ranked) > most:
        lines.append(f"and {len(ranked) - most} more in {CSV_FILE}")
    winner = table["winner"]
    if winner is not None and winner["candidates"] > 1:
        bias = winner["expected_maximum_of_noise"]
        lines.append(
            f"validation accuracy {winner['mean']:.2%} of the best of "
            f"{winner['candidates']}; if all were equally good, the best would be "
            f"expected up to {bias:.2%} above them by luck"
        )
    return lines


def _format_ranked(row: Mapping[str, Any]) -> str:
    spread = "" if row["std"] is None else f" ± {row['std']:.2%} over seeds"
    interval = row["interval_images"]
    among = (
        "" if interval is None else f" (images: {interval[0]:.2%} to {interval[1]:.2%})"
    )
    return (
        f"{row['rank']:3}. {row['mean']:.2%}{spread}{among}  "
        f"{format_flags(row['flags'])}"
    )
