"""Reports and comparisons made up from random numbers, for tests of their pages."""

from typing import Any

import numpy as np

from eval.metrics import classification, imbalance, significance
from eval.reports import examples, report_data
from eval.reports.pages.report_page import ReportArrays
from eval.robustness import corruption_benchmark
from trainer.data.preprocessing import PixelSpec

ENGINE = {"name": "TensorFlow", "version": "2", "delegate": None}
ENGINE |= {"device": "CPU", "threads": 2}
CURVE = ([1.0, 2.0, 3.0], [0.9, 0.6, 0.5])


def random_answers(
    classes: int, images: int, *, skill: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [images, classes] and the labels they are of."""
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, images)
    logits = rng.gumbel(size=(images, classes)) + skill * np.eye(classes)[labels]
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True), labels


def make_report(
    classes: int = 10,
    images: int = 400,
    *,
    skill: float = 3.0,
    names: list[str] | None = None,
    **changes: Any,
) -> tuple[dict[str, Any], ReportArrays]:
    """A report of random answers with every section, and the arrays of its page."""
    given, labels = random_answers(classes, images, skill=skill)
    names = names or [f"class {n}" for n in range(classes)]
    scores = classification.compute_scores(given, labels, names)
    balance = imbalance.class_balance(
        np.array(scores["confusion"]), scores["per_class"]
    )
    ids = [f"image {n}" for n in range(images)]
    rows = {
        "mistakes": examples.mistakes(given, labels, report_data.MISTAKES),
        "label_errors": examples.label_errors(given, labels, report_data.LABEL_ERRORS),
        "least_certain": examples.least_certain(given, report_data.UNCERTAIN),
    }
    tested = {
        k: scores[k] for k in ("accuracy", "accuracy_interval", "nll", "ece", "images")
    }
    tested["split"] = "test"
    report = {
        "created": "2026-01-01 00:00:00 UTC",
        "model": {"name": "tiny", "kind": "checkpoint", "path": "tiny/checkpoints/9"}
        | {
            "sha256": "ab" * 32,
            "step": 9,
            "output": "logits",
            "output_was_given": True,
        },
        "engine": ENGINE,
        "remarks": ["something that a reader must know"],
        "eval_tta": "none",
        "data": {"dataset": "made/1.0.0", "split": "test", "images": images}
        | {
            "kind": "test",
            "classes": names,
            "sha256": "cd" * 32,
            "same_as_trained": True,
        }
        | {"trained_on": None, "preprocessing": PixelSpec(8, 8, 3).to_json()},
        "calibration": {"state": "calibrated", "temperature": 1.1, "why": "Fitted."},
        "scores": scores | balance,
        "calibrated": classification.calibration_scores(given, labels),
        "robustness": corruption_benchmark.measure(
            lambda pixels, tick: given[: len(pixels)], pixels(20), labels[:20]
        ),
        "abstention": _make_abstention(given, labels, ids),
        "gallery": {
            k: examples.describe_rows(found, given, labels, ids)
            for k, found in rows.items()
        },
        "run": {
            "config": {"seed": 1, "model": {"name": "cnn"}},
            "result": {"parameters": 1234, "train_seconds": 75.0, "steps": 9}
            | {"epochs": 3.0151, "test_accuracy": scores["accuracy"]},
            "environment": {"python": "3.11"},
        },
        "exports": [
            tested
            | {"file": "model_int8.tflite", "bytes": 158_000, "latency_ms": 0.06}
            | {"agreement": 0.99, "sampled": False, "split_images": images},
            tested
            | {"file": "saved_model/1", "bytes": None, "latency_ms": None}
            | {"agreement": 1.0, "sampled": False, "split_images": images},
        ],
        "environment": {"processor": "one"},
    } | changes
    picture = examples.data_uri(pixels(1)[0])
    arrays = ReportArrays(
        picture=lambda row: picture,
        risks=classification.risks(given, labels),
        curves={
            "loss": {"training": CURVE, "validation": CURVE},
            "accuracy": {"training": CURVE, "validation": CURVE},
            "learning_rate": {"training": CURVE},
        },
        no_class={"noise": {0: picture}},
        corrupted=dict.fromkeys(
            (report["robustness"] or {"types": ()})["types"], picture
        ),
    )
    return report, arrays


def _make_abstention(
    given: np.ndarray, labels: np.ndarray, ids: list[str]
) -> dict[str, Any]:
    """The part "abstention" of a report with one threshold that exists."""
    right = given.argmax(axis=1) == labels
    share = {"target": 0.9, "share": 0.7, "interval": [0.6, 0.8]}
    none_of_it = {"target": 0.99, "share": None, "interval": None}
    wrong = examples.describe_rows(np.flatnonzero(~right)[:4], given, labels, ids)
    test = {"images": len(labels), "answered": 40, "coverage": 0.8}
    test |= {"coverage_interval": [0.7, 0.9], "selective_accuracy": 0.95}
    test |= {"selective_accuracy_interval": [0.9, 0.99]}
    told = {"coverage_validation": 0.8, "selective_accuracy_validation": 0.95}
    some = {"target": 0.9, "threshold": 0.5, **told, "guarantee": "95 of 100 times."}
    none = {"target": 0.99, "threshold": None, **told, "guarantee": "None: too few."}
    return {
        "why": None,
        "rows": 500,
        "confidence": 0.95,
        "targets": [
            some | {"test": test, "refused_right": 3, "refused_wrong": 5},
            none | {"test": None, "refused_right": None, "refused_wrong": None},
        ],
        "curve": [
            {"threshold": n / 9, "coverage": 1 - n / 9, "selective_accuracy": 0.9}
            for n in range(9)
        ],
        "gallery_target": 0.9,
        "refused": {"wrong": wrong, "right": []},
        "no_class": [
            {"name": "noise", "what": "noise of a camera", "images": 256}
            | {"median_confidence": 0.6, "refused": [share, none_of_it]}
            | {
                "examples": [
                    {"index": 0, "prediction": 1, "confidence": 0.9, "answered": True}
                ]
            }
        ],
    }


def pixels(images: int) -> np.ndarray:
    """Random uint8 [images, 8, 8, 3]."""
    return np.random.default_rng(0).integers(0, 256, (images, 8, 8, 3), np.uint8)


def make_comparison(models: int = 3, images: int = 400) -> dict[str, Any]:
    """comparison.json of random answers; the last model is a file."""
    names = [f"class {n}" for n in range(10)]
    found = [random_answers(10, images, skill=2.0 + n) for n in range(models)]
    labels = found[0][1]
    answers = [given.argmax(axis=1) for given, _ in found]
    rows = []
    for n, _ in enumerate(found):
        hits = int((answers[n] == labels).sum())
        rows.append(
            {"name": f"model {n}", "kind": "checkpoint", "calibration": "uncalibrated"}
            | {"accuracy": hits / images, "nll": 0.5, "brier": 0.2, "ece": 0.03}
            | {"accuracy_interval": classification.interval(hits, images)}
            | {"eval_tta": "none", "remarks": [], "parameters": 138_330 * (n + 1)}
            | {"train_seconds": 30.0 * (n + 1), "bytes": None, "latency_ms": None}
            | {"engine": ENGINE}
        )
    rows[-1] |= {"kind": "tflite", "parameters": None, "train_seconds": None}
    rows[-1] |= {"bytes": 158_000, "latency_ms": 0.06}
    return {
        "created": "2026-01-01 00:00:00 UTC",
        "data": {"dataset": "made/1.0.0", "split": "test", "images": images}
        | {"classes": names, "sha256": "cd" * 32},
        "models": rows,
        "pairs": [
            _make_pair(n, answers[0], answers[n], labels) for n in range(1, models)
        ],
        "config_fields": {
            "seed": [0, 1, None],
            "optim.learning_rate": [0.1, 0.2, None],
        },
    }


def _make_pair(
    number: int, one: np.ndarray, two: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    right = one == labels, two == labels
    return {
        "first": "model 0",
        "second": f"model {number}",
        "accuracy": significance.paired_bootstrap(*right),
        "nll": {"difference": -0.1, "interval": [-0.2, 0.01]},
        "mcnemar": significance.mcnemar(*right),
        "both_right": int((right[0] & right[1]).sum()),
        "both_wrong": int((~right[0] & ~right[1]).sum()),
        "disagreements": int((one != two).sum()),
        "config_differences": None,
        "examples": [
            {"row": int(row), "id": str(row), "label": int(labels[row])}
            | {"first": int(one[row]), "second": int(two[row])}
            | {"first_confidence": 0.9, "second_confidence": 0.8}
            for row in np.flatnonzero(one != two)[:24]
        ],
    }
