"""Comparison of models, or of groups of trainings that differ in their seed."""

import datetime
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eval import model_source, runner
from eval.formats import atomic_folders
from eval.reports import comparison, output_folder, report_data
from eval.reports.comparison import ModelResult
from eval.reports.requests import ComparisonRequest
from eval.studies import group_statistics, seed_groups, seed_statistics, study_page
from eval.studies.seed_groups import SeedGroup
from trainer import errors, files
from trainer.config.enums import EvalTta
from trainer.errors import InvalidInput
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE
from trainer.rundir.layout import Run

VERSION = 1


def write_comparison(
    request: ComparisonRequest, say: Callable[[str], object] = runner.print_line
) -> dict[str, Any]:
    """Compares the models of `request`, or the groups of seeds that it names.

    The arguments and the errors are those of `reports.comparison.write_comparison`.
    """
    if not any(map(seed_groups.is_group, request.models)):
        return comparison.write_comparison(request, say)
    groups = [seed_groups.find_group(word) for word in request.models]
    _check_same(request, groups, say)
    runner.start_devices()
    with native_output.suppress_native_stderr("opening the models"):
        sources = [
            model_source.from_run(Run(path)) for group in groups for path in group.runs
        ]
    options = request.options
    with errors.failing_on_value_errors():
        data, split = runner.open_evaluation(sources, options.images, options.data, say)
        results = comparison.evaluate_all(
            sources, split, data, options.eval_tta, _without_repetition(say)
        )
        with CONSOLE.phase("comparing"):
            found = build_comparison(groups, results)
    output_folder.write_folder(request.out_dir, render_files(found))
    return found


def _without_repetition(say: Callable[[str], object]) -> Callable[[str], None]:
    """Says a line once, though it may begin with the name of another run."""
    said: set[str] = set()

    def say_once(line: str) -> None:
        rest = line.partition(" ")[2]
        if rest not in said:
            said.add(rest)
            say(line)

    return say_once


def _check_same(
    request: ComparisonRequest,
    groups: Sequence[SeedGroup],
    say: Callable[[str], object],
) -> None:
    """Refuses to replace a comparison of other groups, or announces it."""
    if request.options.file.kernels:
        raise InvalidInput(
            "`kernels` is for .tflite files, and groups of runs are named"
        )
    paths = [str(group.path) for group in groups]
    new = {"models": paths, "eval_tta": request.options.eval_tta.value}
    replaced = atomic_folders.check_same_content(
        request.out_dir,
        comparison.load_identity(request.out_dir),
        new,
        may_replace=request.given_dir is None,
    )
    if replaced:
        say(replaced)


def build_comparison(
    groups: Sequence[SeedGroup], results: Sequence[ModelResult]
) -> dict[str, Any]:
    """Compares all `groups` with the first; `results` are of their runs, in order."""
    first, split, rest = results[0], results[0].split, iter(results)
    parts = [list(itertools.islice(rest, len(group.runs))) for group in groups]
    right = [np.stack([one.right for one in part]) for part in parts]
    flattered = split.held_out
    rows = [
        _describe_group(group, answers, first.tta)
        for group, answers in zip(groups, right, strict=True)
    ]
    return {
        "version": VERSION,
        "kind": "groups of seeds",
        "created": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "data": {
            "dataset": first.dataset,
            "split": split.split,
            "kind": report_data.kind_of(split),
            "images": len(split.labels),
            "sha256": split.sha256,
        },
        "remarks": [
            f"{group.name} is the best of {group.candidates} configurations by these "
            f"very rows: up to {group.expected_maximum_of_noise:.2%} of its accuracy "
            "is luck"
            for group in groups
            if flattered and group.candidates > 1
        ],
        "groups": rows,
        "pairs": [
            {"first": groups[0].name, "second": group.name}
            | group_statistics.compare(right[0], answers)
            for group, answers in zip(groups[1:], right[1:], strict=True)
        ],
    }


def _describe_group(
    group: SeedGroup, right: np.ndarray, tta: EvalTta
) -> dict[str, Any]:
    accuracies = [float(value) for value in right.mean(axis=1)]
    return {
        "name": group.name,
        "path": str(group.path),
        "runs": [path.name for path in group.runs],
        "eval_tta": tta.value,
        "accuracies": accuracies,
        "candidates": group.candidates,
        **seed_statistics.summarize(accuracies, right.shape[1]).to_json(),
    }


def render_files(found: dict[str, Any]) -> dict[str, bytes]:
    """Renders the comparison's files by name; comparison.json is last."""
    return {
        output_folder.COMPARISON_PAGE: study_page.render_groups(found),
        output_folder.COMPARISON_DATA: files.json_bytes(found),
    }


def summary_lines(found: dict[str, Any]) -> list[str]:
    """Formats a comparison of models, or of groups, as lines for a terminal."""
    if "groups" not in found:
        return comparison.summary_lines(found)
    rows = found["groups"]
    width = max(len(row["name"]) for row in rows)
    data = found["data"]
    lines = [f"{data['images']:,} {data['kind']} images of {data['dataset']}"]
    for row in rows:
        spread = "" if row["std"] is None else f", s {row['std']:.2%}"
        lines.append(
            f"{row['name']:{width}}  {row['mean']:.2%} over {row['seeds']} seeds"
            f"{spread}"
        )
    for pair in found["pairs"]:
        ends = ("over_seeds", "over_images", "over_both")
        told = [
            f"{name.removeprefix('over_')} {study_page.format_points(pair[name])}"
            for name in ends
        ]
        lines.append(
            f"{pair['second']} - {pair['first']}: "
            f"{100 * pair['difference']:+.2f} points (95 % over {', '.join(told)})"
        )
    return lines + found["remarks"]
