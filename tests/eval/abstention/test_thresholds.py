"""Thresholds come from a manifest or from counted rows, and damage is told."""

import json
import types

import numpy as np
import pytest

from eval.abstention import thresholds
from eval.metrics import calibration, classification, selective_thresholds
from eval.metrics import validation_rows as rows_of_runs
from eval.metrics.calibration import Calibration, State
from eval.metrics.validation_rows import ValidationAnswers
from trainer.config.enums import EvalTta
from trainer.errors import InvalidInput
from trainer.rundir.layout import Run

ENTRY = {
    "threshold": 0.75,
    "coverage_validation": 0.9,
    "selective_accuracy_validation": 0.97,
    "guarantee": "With 95 % confidence.",
}
CALIBRATION = Calibration(State.CALIBRATED, 1.5, "")


def file_source(abstain, rows=None):
    rows = {"images": 500} if rows is None else rows
    manifest = {"abstain": abstain, "abstain_rows": rows}
    return types.SimpleNamespace(name="a.tflite", manifest=manifest)


def test_a_manifest_has_the_values_that_it_has():
    none = dict.fromkeys(ENTRY) | {"guarantee": "None: too few rows."}
    found = thresholds.from_manifest(file_source({"0.95": ENTRY, "0.99": none}))
    assert found.rows == 500 and found.find(0.95).value == 0.75
    assert found.find(0.99).value is None
    for other in (0.9, 0.951, 0.9499):
        with pytest.raises(
            InvalidInput, match=r"a\.tflite has thresholds for 0.95, 0.99"
        ):
            found.find(other)


@pytest.mark.parametrize(
    "abstain",
    [
        {"0.95": 3},
        {"high": ENTRY},
        {"0.95": ENTRY | {"threshold": "0.5"}},
        {"0.95": ENTRY | {"threshold": 1.0}},
        {"0.95": ENTRY | {"threshold": float("nan")}},
        {"0.95": {"threshold": 0.5}},
    ],
)
def test_a_damaged_manifest_is_told(abstain):
    with pytest.raises(
        InvalidInput, match=r"manifest of a\.tflite is damaged: abstain"
    ):
        thresholds.from_manifest(file_source(abstain))


@pytest.mark.parametrize("abstain", [None, [], "0.95"])
def test_a_file_without_thresholds_says_so(abstain):
    with pytest.raises(InvalidInput, match="has no thresholds for `abstain`"):
        thresholds.from_manifest(file_source(abstain))


@pytest.fixture
def source(tmp_path):
    """A run whose counts are saved."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 900)
    sure = rng.uniform(0.5, 1, 900)
    answers = np.where(rng.random(900) < sure, labels, 1 - labels)
    rows = np.where(np.eye(2)[answers] == 1, sure[:, None], 1 - sure[:, None])
    counts = selective_thresholds.count_answers(rows, labels, 0.0)
    made = types.SimpleNamespace(
        name="run", run=Run(tmp_path), facts={"sha256": "weights"}, final=True
    )
    known = thresholds._identity(made, CALIBRATION)
    thresholds._save(made.run, known | {"rows": 900, "rows_sha256": "rows"}, counts)
    return made, counts


def test_a_run_keeps_what_any_threshold_follows_from(source):
    made, counts = source
    found = thresholds.from_counts(thresholds.load_counts(made, CALIBRATION))
    assert found.rows == 900
    for target in (0.7, 0.75, 0.8, 0.99):
        assert found.find(target) == selective_thresholds.find_threshold(counts, target)
    assert found.find(0.7).value < found.find(0.8).value


def test_counts_of_other_weights_or_damaged_ones_are_none(source):
    made, _ = source
    path = made.run.path / thresholds.FILE
    whole = json.loads(path.read_text())
    other = Calibration(State.CALIBRATED, 1.6, "")
    assert thresholds.load_counts(made, other) is None
    for change in (
        {"weights_sha256": "x"},
        {"version": 2},
        {"rows": "900"},
        {"answered": whole["answered"][1:]},
        {"wrong": [1.5] * len(whole["wrong"])},
        {"wrong": whole["answered"][:1] * len(whole["wrong"])},
        {"thresholds": whole["thresholds"][::-1]},
    ):
        path.write_text(json.dumps(whole | change))
        assert thresholds.load_counts(made, CALIBRATION) is None
    for text in ("", "[]", "{}", "null"):
        path.write_text(text)
        assert thresholds.load_counts(made, CALIBRATION) is None
    path.unlink()
    assert thresholds.load_counts(made, CALIBRATION) is None


def test_rows_are_answered_once_and_again_when_the_test_split_is_opened(
    source, monkeypatch
):
    """Temperature and thresholds share the answers; both know if rows were compared."""
    made, _ = source
    draws = np.random.default_rng(1)
    labels = draws.integers(0, 2, 200).astype(np.int32)
    right = draws.random(200) < 0.8
    answers = np.where(np.eye(2)[np.where(right, labels, 1 - labels)] == 1, 0.9, 0.1)
    train = types.SimpleNamespace(images=answers, labels=labels, sha256="train")
    kept = {"closed": np.arange(200), "open": np.arange(10, 200)}  # ten are in the test
    monkeypatch.setattr(
        rows_of_runs,
        "find_validation_rows",
        lambda run, train, test, held_out: (train(), kept[test or "closed"]),
    )
    predictor = types.SimpleNamespace(
        tta=EvalTta.NONE, min_probability=classification.SMALLEST
    )
    asked = []

    def predict(images):
        asked.append(len(images))
        return np.asarray(images)

    for test, calls in (
        (None, [200]),
        (None, [200]),  # both files are there
        ("open", [200, 190]),
        ("open", [200, 190]),
        (None, [200, 190]),  # what was compared serves a closed split, too
    ):
        rows = ValidationAnswers(made.run, predict, lambda: train, test)
        fitted = calibration.from_run(rows, "weights")
        found = thresholds.find_thresholds(made, predictor, fitted, rows)
        assert asked == calls and found.rows == calls[-1]


def test_counts_without_a_temperature_know_whether_rows_were_compared(source):
    made, _ = source
    path = made.run.path / thresholds.FILE
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"compared_with_test": False}))
    assert thresholds.load_counts(made, CALIBRATION) is not None
    assert thresholds.load_counts(made, CALIBRATION, test="open") is None
