"""Evaluates a model on its test split and writes the report."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eval import runner
from eval.formats import atomic_folders
from eval.metrics.calibration import State
from eval.model_source import ModelSource
from eval.predictors import engine
from eval.reports import output_folder, report_data, report_files
from eval.reports.requests import ReportRequest
from eval.robustness import corruption_benchmark
from eval.runner import Evaluation
from trainer import errors, system
from trainer.config.enums import EvalTta
from trainer.distributed import environment
from trainer.monitoring.progress import CONSOLE


def write_report(
    request: ReportRequest, say: Callable[[str], object] = runner.print_line
) -> dict[str, Any]:
    """Evaluates the model of `request`, writes its report and returns report.json.

    `say` is called with each line that must be known before the numbers.

    Raises:
        InvalidInput: the model, the data or the folder cannot be used.
        TrainingFailed: the model cannot be run, or its outputs are no numbers.
    """
    source = runner.open_source(
        request.run, request.checkpoint, request.model, request.options.file
    )
    with errors.failing_on_value_errors(source.name):
        evaluation = _evaluate(source, request, say)
        report = _build(evaluation, request)
    with CONSOLE.phase("drawing and writing the report"):
        files = report_files.render_files(report, evaluation)
        output_folder.write_folder(request.out_dir, files)
    return report


def summary(report: dict[str, Any]) -> str:
    """Formats the scores of a report as one line for a terminal."""
    scores = report["scores"]
    best = report["calibrated"] or scores
    low, high = scores["accuracy_interval"]
    return (
        f"{report['model']['name']}: {_balanced(scores)}{scores['accuracy']:.2%} of"
        f" {scores['images']:,} {report['data']['split']} images"
        f"{EvalTta(report['eval_tta']).words}"
        f" (95 %: {low:.2%} to {high:.2%}),"
        f" NLL {best['nll']:.4f}, ECE {best['ece']:.2%},"
        f" {_calibration(report['calibration'])};"
        f" {engine.format_engine(report['engine'])}"
    )


def _calibration(described: Mapping[str, Any]) -> str:
    """Whether the probabilities are calibrated, and why they are not."""
    state = described["state"]
    reason = described["why"].removeprefix("Uncalibrated: ").rstrip(".")
    return f"{state} ({reason})" if state == State.UNCALIBRATED.value else state


def _balanced(scores: Mapping[str, Any]) -> str:
    """The scores that come first where the classes differ much in size."""
    if not scores["imbalanced"]:
        return ""
    found = []
    for title, name in (
        ("balanced accuracy", "balanced_accuracy"),
        ("macro F1", "macro_f1"),
    ):
        low, high = scores[f"{name}_interval"]
        found.append(f"{title} {scores[name]:.2%} (95 %: {low:.2%} to {high:.2%}), ")
    return "".join(found)


def _evaluate(
    source: ModelSource, request: ReportRequest, say: Callable[[str], object]
) -> Evaluation:
    options = request.options
    data = options.data or runner.open_data(source, options.images, say)
    split = data.load("test")
    predictor = runner.open_predictor(source, split, options.eval_tta)
    new = report_data.identity(source.facts, predictor, data.name)
    old = report_data.load_identity(request.out_dir, source.facts)
    replaced = atomic_folders.check_same_content(
        request.out_dir, old, new, may_replace=request.given_dir is None
    )
    if replaced:
        say(replaced)
    for line in runner.remarks(source, predictor, split, data.name):
        say(line)
    return runner.evaluate(source, predictor, split, data)


def _build(evaluation: Evaluation, request: ReportRequest) -> dict[str, Any]:
    rows: np.ndarray | None = None
    if request.corruptions:
        count = len(evaluation.split.labels)
        rows = corruption_benchmark.sample_rows(count, request.corruption_sample)
    with CONSOLE.phase("scoring"):
        described = environment.describe(system.threads())
        return report_data.build_report(evaluation, rows, described)
