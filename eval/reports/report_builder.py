"""Evaluates a model and writes the report."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eval import runner
from eval.abstention.thresholds import find_thresholds
from eval.formats import atomic_folders
from eval.metrics.calibration import State
from eval.model_source import ModelSource
from eval.predictors import engine
from eval.predictors.predictor import Predictor
from eval.reports import abstention_report, output_folder, report_data, report_files
from eval.reports.requests import ReportRequest
from eval.robustness import corruption_benchmark, no_class_images
from eval.robustness.no_class_images import NoClassImages
from eval.runner import Evaluation
from trainer import errors, system
from trainer.config.enums import EvalTta
from trainer.data.preprocessing import PixelSpec
from trainer.data.split import DataSource, Split
from trainer.distributed import environment
from trainer.monitoring.progress import CONSOLE

_CLOSED = "they are chosen on validation rows, and the test split is closed"


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
        data, split, predictor = _open(source, request, say)
        no_class = _load_no_class(source, split, request, say)
        evaluation = runner.evaluate(source, predictor, split, data)
        thresholds = _CLOSED
        if not split.held_out:
            thresholds = find_thresholds(
                source, predictor, evaluation.calibration, evaluation.validation
            )
        refused = abstention_report.describe_abstention(
            evaluation, thresholds, no_class
        )
        report = _build(evaluation, request, refused)
    with CONSOLE.phase("drawing and writing the report"):
        files = report_files.render_files(report, evaluation, no_class=no_class)
        output_folder.write_folder(request.out_dir, files)
    return report


def summary(report: dict[str, Any]) -> str:
    """Formats the scores of a report as one line for a terminal."""
    scores = report["scores"]
    best = report["calibrated"] or scores
    low, high = scores["accuracy_interval"]
    closed = "" if report["data"]["kind"] == "test" else ", not of the test split"
    return (
        f"{report['model']['name']}: {_balanced(scores)}{scores['accuracy']:.2%} of"
        f" {scores['images']:,} {report['data']['split']} images{closed}"
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


def _open(
    source: ModelSource, request: ReportRequest, say: Callable[[str], object]
) -> tuple[DataSource, Split, Predictor]:
    """The data, their test split and what predicts it."""
    options = request.options
    data, split = runner.open_evaluation([source], options.images, options.data, say)
    predictor = runner.open_predictor(source, split, options.eval_tta)
    new = report_data.identity(source.facts, predictor, data.name, split)
    old = report_data.load_identity(request.out_dir, source.facts)
    replaced = atomic_folders.check_same_content(
        request.out_dir, old, new, may_replace=request.given_dir is None
    )
    if replaced:
        say(replaced)
    for line in runner.remarks(source, predictor, split, data.name):
        say(line)
    return data, split, predictor


def _load_no_class(
    source: ModelSource,
    split: Split,
    request: ReportRequest,
    say: Callable[[str], object],
) -> list[NoClassImages]:
    """Images that show none of the classes: those of the request, then the defaults."""
    with CONSOLE.phase("images of no class"):
        found = no_class_images.make_defaults(split.images, split.names)
        if (name := request.no_class_data) is None:
            return found
        own = source.image_files.spec if source.image_files else None
        spec = own or PixelSpec(*split.images.shape[1:])
        folder = request.options.images.data_dir or source.data_dir
        return [no_class_images.load_named(name, spec, folder, say), *found]


def _build(
    evaluation: Evaluation, request: ReportRequest, abstention: dict[str, Any]
) -> dict[str, Any]:
    rows: np.ndarray | None = None
    if request.corruptions:
        count = len(evaluation.split.labels)
        rows = corruption_benchmark.sample_rows(count, request.corruption_sample)
    with CONSOLE.phase("scoring"):
        described = environment.describe(system.threads())
        return report_data.build_report(evaluation, rows, described, abstention)
