"""report.json: everything a report says, as plain values; docs/report_schema.md."""

import datetime
import importlib.metadata
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from eval.metrics import classification
from eval.predictors.predictor import Predictor
from eval.reports import examples
from eval.reports.output_folder import REPORT_DATA
from eval.robustness import corruption_benchmark
from eval.runner import Evaluation
from trainer import files
from trainer.config.enums import EvalTta
from trainer.models import evaluator
from trainer.rundir.layout import Run

VERSION = 1
_PACKAGES = ("ai-edge-litert", "scikit-learn", "scipy", "pillow")
_CURVES = ("loss", "accuracy", "learning_rate")
_NO_POINT = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_TESTED = ("accuracy", "accuracy_interval", "nll", "ece", "agreement")
_ASKED = ("images", "sampled", "split_images")  # of which images that is
GALLERY_IMAGES = 16  # of each kind


def build_report(
    evaluation: Evaluation, corruption_rows: Any, environment: dict[str, Any]
) -> dict[str, Any]:
    """The report of `evaluation`; `corruption_rows` is int [n], None for none."""
    split, given = evaluation.split, evaluation.probabilities
    calibrated = None
    if evaluation.calibration.temperature is not None:
        calibrated = classification.calibrated(
            evaluation.softened, split.labels, evaluation.floor
        )
    return {
        "version": VERSION,
        "created": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "model": evaluation.subject.facts
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
        "scores": classification.summarise(
            given, split.labels, list(split.names), evaluation.floor
        ),
        "calibrated": calibrated,
        "robustness": _robustness(evaluation, corruption_rows),
        "gallery": _gallery(evaluation),
        "run": _run(evaluation.subject.run),
        "exports": list_exports(evaluation.subject.run),
        "environment": environment | {"evaluation_packages": _versions()},
    }


def identity(
    facts: Mapping[str, Any], predictor: Predictor, dataset: str
) -> dict[str, Any]:
    """What a report is of: two that differ in it are two reports."""
    return {
        "model": facts["path"],
        "eval_tta": predictor.tta.value,
        "kernels": predictor.model.engine.get("kernels"),
        "data": dataset,
    }


def load_identity(folder: pathlib.Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of the report in `folder`; {} where there is none.

    A model of the same bytes as that of `facts` is the same, wherever it lies.
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
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _data(evaluation: Evaluation) -> dict[str, Any]:
    split, noted = evaluation.split, evaluation.subject.trained_on
    own = noted.get("test")
    return {
        "dataset": evaluation.dataset,
        "split": split.split,
        "images": len(split.labels),
        "classes": list(split.names),
        "sha256": split.sha256,
        "trained_on": noted or None,
        "same_as_trained": None if own is None else own == split.sha256,
    }


def _robustness(evaluation: Evaluation, rows: Any) -> dict[str, Any] | None:
    if rows is None:
        return None
    split = evaluation.split
    return corruption_benchmark.measure(
        evaluation.answer,
        split.images[rows],
        split.labels[rows],
        evaluation.floor,
        views=evaluator.count_views(evaluation.predictor.tta),
    )


def _gallery(evaluation: Evaluation) -> dict[str, list[dict[str, Any]]]:
    shown, labels = evaluation.softened, evaluation.split.labels
    rows = {
        "mistakes": examples.mistakes(shown, labels, GALLERY_IMAGES),
        "label_errors": examples.label_errors(shown, labels, GALLERY_IMAGES),
        "least_certain": examples.least_certain(shown, GALLERY_IMAGES),
    }
    ids = evaluation.split.ids
    return {k: examples.entries(found, shown, labels, ids) for k, found in rows.items()}


def _run(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "config": run.config().to_json(),
        "result": run.result(),
        "environment": _json(run.path / "environment.json"),
    }


def _json(path: pathlib.Path) -> Any:
    try:
        return files.read_json(path)
    except (OSError, ValueError):
        return None


def list_exports(run: Run | None) -> list[dict[str, Any]]:
    """What the manifests of a run's exported files say of their tests."""
    if run is None:
        return []
    folder = run.path / "export"
    places = [
        *folder.glob("*.tflite.json"),
        *folder.glob("saved_model/*/manifest.json"),
    ]
    found = []
    for place in sorted(places):
        manifest = _json(place)
        tested = manifest.get("test") if isinstance(manifest, dict) else None
        if measured(tested):
            own = (
                place.parent if place.name == "manifest.json" else place.with_suffix("")
            )
            file = str(own.relative_to(folder))
            asked = {name: tested.get(name) for name in _ASKED}
            kept = {name: tested[name] for name in _TESTED}
            found.append({"file": file, **asked, **kept})
    return found


def measured(tested: Any) -> bool:
    """Whether `tested` has all that is shown of an export, as finite numbers."""
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
    """Panels of training curves from metrics.jsonl, {} if there is nothing to draw."""
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
                continue  # being written, or damaged: the rest is still to be seen
            for name, value in points.items():
                panel = panels.setdefault(name, {})
                steps, values = panel.setdefault(curve, ([], []))
                steps.append(step)
                values.append(value)
    return panels
