"""Evaluation from a script or notebook: reports and comparisons of models."""

import dataclasses
import os
import pathlib
import types
from collections.abc import Sequence

from eval.reports import comparison, report_builder
from eval.reports.requests import ComparisonRequest, ReportRequest
from eval.splits.evaluation_options import EvaluationOptions
from trainer.config import parsing
from trainer.data.split import DataSource
from trainer.rundir import layout
from trainer.rundir.layout import Run


class EvaluationReport(types.SimpleNamespace):
    """The keys of report.json as attributes, see docs/report_schema.md.

    Attributes:
        path: the folder with report.html, report.json and predictions.npz.
    """

    def __repr__(self) -> str:
        return f"{report_builder.summary(vars(self))}\n{self.path}"


class ModelComparison(types.SimpleNamespace):
    """The keys of comparison.json as attributes, see docs/report_schema.md.

    Attributes:
        path: the folder with comparison.html and comparison.json.
    """

    def __repr__(self) -> str:
        return "\n".join([*comparison.summary_lines(vars(self)), str(self.path)])


def evaluate(
    model: str | os.PathLike[str],
    data: DataSource | None = None,
    *,
    checkpoint: int | None = None,
    out_dir: str | os.PathLike[str] | None = None,
    corruption_images: int = 0,
    options: EvaluationOptions | None = None,
) -> EvaluationReport:
    """Evaluates a model on the test split and writes its report, as eval.report does.

    Args:
        model: a run directory, a `.tflite` file or a SavedModel directory. A SavedModel
            is a program: open none that you would not run.
        data: from `trainer.data.from_arrays` or `from_tfds`; None: the TFDS data set
            that the model was trained on.
        checkpoint: step of a run; None: the last of a finished run.
        out_dir: None: report/ in the run, or <model>.report/ beside a file.
        corruption_images: how many test images are also evaluated under each of 75
            corruptions.
        options: how model files are read, test-time augmentation.

    Raises:
        InvalidInput: the model, the data or the folder cannot be used.
        TrainingFailed: the model cannot be run, or its outputs are no numbers.
    """
    run, file = _find_model(model)
    request = ReportRequest(
        run=run,
        model=file,
        checkpoint=checkpoint,
        options=dataclasses.replace(options or EvaluationOptions(), data=data),
        given_dir=_parse_folder(out_dir),
        corruptions=corruption_images != 0,
        corruption_sample=corruption_images or None,
    )
    request.check_folder()
    report = report_builder.write_report(request)
    return EvaluationReport(path=request.out_dir, **report)


def compare(
    models: Sequence[str | os.PathLike[str]],
    data: DataSource | None = None,
    *,
    out_dir: str | os.PathLike[str] | None = None,
    options: EvaluationOptions | None = None,
) -> ModelComparison:
    """Compares models with the first of them on one test split, as eval.compare does.

    Args:
        models: run directories or model files, see `evaluate`.
        data: as in `evaluate`; None: the TFDS data set of the first model.
        out_dir: None: comparison/.
        options: as in `evaluate`.

    Raises:
        InvalidInput: a model, the data or the folder cannot be used.
        TrainingFailed: a model cannot be run, or its outputs are no numbers.
    """
    request = ComparisonRequest(
        models=tuple(os.fspath(model) for model in models),
        options=dataclasses.replace(options or EvaluationOptions(), data=data),
        given_dir=_parse_folder(out_dir),
    )
    request.check_folder()
    found = comparison.write_comparison(request)
    return ModelComparison(path=request.out_dir, **found)


def _parse_folder(out_dir: str | os.PathLike[str] | None) -> pathlib.Path | None:
    return None if out_dir is None else parsing.parse_path("out_dir", str(out_dir))


def _find_model(
    model: str | os.PathLike[str],
) -> tuple[Run | None, pathlib.Path | None]:
    """The run, or else the model file, of that name."""
    name = os.fspath(model)
    path = parsing.parse_path("model", name)
    if path.suffix in (".tflite", ".onnx") or (path / "saved_model.pb").is_file():
        return None, path
    return layout.open_run(name), None
