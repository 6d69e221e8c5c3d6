"""Builds the content of report.json; docs/report_schema.md describes it."""

import datetime
import importlib.metadata
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.metrics import classification, imbalance
from eval.predictors.predictor import Predictor
from eval.reports import examples, exported_files
from eval.reports.output_folder import REPORT_DATA
from eval.robustness import corruption_benchmark
from eval.runner import Evaluation
from trainer import files
from trainer.data.preprocessing import PixelSpec
from trainer.data.split import Split
from trainer.models import evaluator
from trainer.rundir.layout import Run

VERSION = 1
_PACKAGES = ("ai-edge-litert", "scikit-learn", "scipy", "pillow")
MISTAKES, LABEL_ERRORS, UNCERTAIN = 120, 40, 24  # images of each kind, at most


def build_report(
    evaluation: Evaluation,
    corruption_rows: np.ndarray | None,
    environment: dict[str, Any],
    abstention: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Builds the report; `corruption_rows` are int [n], None: no corruptions."""
    split, calibrated = evaluation.split, None
    engine = evaluation.predictor.model.engine
    if evaluation.calibration.temperature is not None:
        calibrated = classification.calibration_scores(
            evaluation.calibrated, split.labels, evaluation.min_probability
        )
    return {
        "version": VERSION,
        "created": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "model": evaluation.source.facts
        | {
            "output": evaluation.predictor.output.value,
            "output_was_given": evaluation.predictor.given,
        }
        | exported_files.measure_file(evaluation.source.facts, engine),
        "engine": dict(engine),
        "remarks": evaluation.remarks,
        "eval_tta": evaluation.predictor.tta.value,
        "data": _data(evaluation),
        "calibration": {
            "state": evaluation.calibration.state.value,
            "temperature": evaluation.calibration.temperature,
            "why": evaluation.calibration.why,
        },
        "scores": _scores(evaluation),
        "calibrated": calibrated,
        "robustness": _robustness(evaluation, corruption_rows),
        "abstention": abstention,
        "gallery": _gallery(evaluation),
        "run": _run_facts(evaluation.source.run),
        "exports": exported_files.list_exports(evaluation.source.run),
        "environment": environment | {"evaluation_packages": _versions()},
    }


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    split = evaluation.split
    found = classification.compute_scores(
        evaluation.probabilities,
        split.labels,
        list(split.names),
        evaluation.min_probability,
    )
    matrix = np.array(found["confusion"])
    return found | imbalance.class_balance(matrix, found["per_class"])


def identity(
    facts: Mapping[str, Any], predictor: Predictor, dataset: str, split: Split
) -> dict[str, Any]:
    """Describes which model was evaluated, how and on which data."""
    return {
        "model": facts["path"],
        "eval_tta": predictor.tta.value,
        "kernels": predictor.model.engine.get("kernels"),
        "data": dataset,
        "split": kind_of(split),
    }


def kind_of(split: Split) -> str:
    """What the images are: "test", or "validation" rows that a training held out."""
    return "validation" if split.held_out else "test"


def load_identity(folder: pathlib.Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Loads the identity of the report in `folder`; {} where there is none.

    A model with the same bytes as that of `facts` is the same, also at another path.
    """
    try:
        found = files.read_json(folder / REPORT_DATA)
        model = found["model"]
        same = model["sha256"] == facts["sha256"]
        return {
            "model": facts["path"] if same else model["path"],
            "eval_tta": found["eval_tta"],
            "kernels": found.get("engine", {}).get("kernels"),
            "data": found["data"]["dataset"],
            "split": found["data"].get("kind", "test"),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _data(evaluation: Evaluation) -> dict[str, Any]:
    split, trained_on = evaluation.split, evaluation.source.trained_on
    own = None if split.held_out else trained_on.get("test")
    return {
        "dataset": evaluation.dataset,
        "split": split.split,
        "kind": kind_of(split),
        "images": len(split.labels),
        "classes": list(split.names),
        "sha256": split.sha256,
        "pixels_sha256": split.pixels_sha256,
        "preprocessing": _preprocessing(evaluation),
        "trained_on": trained_on or None,
        "same_as_trained": None if own is None else own == split.sha256,
    }


def _preprocessing(evaluation: Evaluation) -> dict[str, Any]:
    """How image files become the pixels that the model was judged on."""
    files = evaluation.source.image_files
    spec = files.spec if files else None
    return (spec or PixelSpec(*evaluation.split.images.shape[1:])).to_json()


def _robustness(
    evaluation: Evaluation, rows: np.ndarray | None
) -> dict[str, Any] | None:
    if rows is None:
        return None
    split = evaluation.split
    return corruption_benchmark.measure(
        evaluation.predict,
        split.images[rows],
        split.labels[rows],
        evaluation.min_probability,
        views=evaluator.count_views(evaluation.predictor.tta),
    )


def _gallery(evaluation: Evaluation) -> dict[str, list[dict[str, Any]]]:
    shown, labels = evaluation.calibrated, evaluation.split.labels
    rows = {
        "mistakes": examples.mistakes(shown, labels, MISTAKES),
        "label_errors": examples.label_errors(shown, labels, LABEL_ERRORS),
        "least_certain": examples.least_certain(shown, UNCERTAIN),
    }
    ids = evaluation.split.ids
    return {
        k: examples.describe_rows(found, shown, labels, ids)
        for k, found in rows.items()
    }


def _run_facts(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "config": run.config().to_json(),
        "result": run.result(),
        "environment": exported_files.load_json(run.path / "environment.json"),
    }


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES}
