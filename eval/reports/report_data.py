"""Builds the content of report.json; docs/report_schema.md describes it."""

import datetime
import importlib.metadata
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.formats import manifest as manifests
from eval.metrics import classification, imbalance
from eval.predictors.predictor import Predictor
from eval.reports import examples
from eval.reports.output_folder import REPORT_DATA
from eval.robustness import corruption_benchmark
from eval.runner import Evaluation
from trainer import files
from trainer.config.enums import EvalTta
from trainer.data.preprocessing import PixelSpec
from trainer.data.split import Split
from trainer.models import evaluator
from trainer.rundir.layout import Run

VERSION = 1
_PACKAGES = ("ai-edge-litert", "scikit-learn", "scipy", "pillow")
_CURVES = ("loss", "accuracy", "learning_rate")
_NO_POINT = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_TESTED = ("accuracy", "accuracy_interval", "nll", "ece", "agreement")
_TESTED_ON = ("images", "sampled", "split_images")  # number of tested images
GALLERY_IMAGES = 16  # images of each kind


def build_report(
    evaluation: Evaluation,
    corruption_rows: np.ndarray | None,
    environment: dict[str, Any],
    abstention: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Builds the report; `corruption_rows` are int [n], None: no corruptions."""
    split, calibrated = evaluation.split, None
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
        },
        "engine": dict(evaluation.predictor.model.engine),
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
        "exports": list_exports(evaluation.source.run),
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
        "mistakes": examples.mistakes(shown, labels, GALLERY_IMAGES),
        "label_errors": examples.label_errors(shown, labels, GALLERY_IMAGES),
        "least_certain": examples.least_certain(shown, GALLERY_IMAGES),
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
        "environment": _load_json(run.path / "environment.json"),
    }


def _load_json(path: pathlib.Path) -> object:
    try:
        return files.read_json(path)
    except (OSError, ValueError):
        return None


def list_exports(run: Run | None) -> list[dict[str, Any]]:
    """Lists the results in the manifests of a run's exported files."""
    if run is None:
        return []
    folder = run.path / "export"
    manifest_paths = [
        *folder.glob("*.tflite.json"),
        *folder.glob("*.onnx.json"),
        *folder.glob("saved_model/*/manifest.json"),
    ]
    found = []
    for manifest_path in sorted(manifest_paths):
        manifest = _load_json(manifest_path)
        is_object = isinstance(manifest, dict)
        tested = manifests.verification(manifest) if is_object else None
        if has_test_results(tested):
            own = (
                manifest_path.parent
                if manifest_path.name == "manifest.json"
                else manifest_path.with_suffix("")
            )
            file = str(own.relative_to(folder))
            asked = {name: tested.get(name) for name in _TESTED_ON}
            kept = {name: tested[name] for name in _TESTED}
            split = {"split": tested.get("split", "test")}
            found.append({"file": file, **asked, **split, **kept})
    return found


def has_test_results(tested: object) -> bool:
    """Whether `tested` has all numbers that a report shows, and all are finite."""
    if not isinstance(tested, dict):
        return False
    interval = tested.get("accuracy_interval")
    if not isinstance(interval, list) or len(interval) != 2:
        return False
    single = [tested.get(name) for name in _TESTED if name != "accuracy_interval"]
    return all(
        type(value) in (int, float) and math.isfinite(value)
        for value in (*single, *interval)
    )


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def training_curves(run: Run | None) -> dict[str, dict[str, tuple[list, list]]]:
    """Loads panels of training curves from metrics.jsonl; {} if there are none."""
    panels: dict[str, dict[str, tuple[list, list]]] = {}
    if run is None or not run.metrics.is_file():
        return panels
    with open(run.metrics, "rb") as file:
        for line in file:
            try:
                entry = json.loads(line)
                curve = entry["split"] + EvalTta(entry.get("eval_tta", "none")).words
                step = int(entry["step"])
                points = {
                    k: float(v) for k in _CURVES if (v := entry.get(k)) is not None
                }
            except _NO_POINT:
                continue  # the line is damaged or being written
            for name, value in points.items():
                panel = panels.setdefault(name, {})
                steps, values = panel.setdefault(curve, ([], []))
                steps.append(step)
                values.append(value)
    return panels
