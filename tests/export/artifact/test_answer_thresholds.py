"""A file's thresholds are chosen by its own answers to validation rows, or by none."""

import types

import numpy as np

from eval.predictors.outputs import Output
from eval.predictors.predictor import Predictor
from export.artifact import answer_thresholds
from export.artifact.inputs import ValidationImages
from trainer.data.split import ImageRows

STEP = 1 / 256
FIELDS = {"threshold", "quantized", "coverage_validation", "guarantee", "test"}
FIELDS |= {"selective_accuracy_validation"}


class PixelModel:
    """Two classes: the first pixel is the probability of class 0."""

    shape, classes, step = (1, 1, 1), 2, STEP

    def __call__(self, images, tick):
        first = images[0 : len(images)].reshape(-1) * STEP
        return np.stack([first, 255 * STEP - first], axis=1)


def choose(validation, zero_point, test="the test split"):
    pixels = np.arange(200, 256, dtype=np.uint8)
    predictor = Predictor("pixels", PixelModel(), Output.PROBABILITIES)
    inputs = types.SimpleNamespace(
        validation=validation,
        test=test,
        verification_set=types.SimpleNamespace(labels=np.zeros(len(pixels), int)),
    )
    tested = predictor(pixels.reshape(-1, 1, 1, 1))
    return answer_thresholds.choose_thresholds(inputs, predictor, zero_point, tested)


def test_thresholds_are_on_the_grid_of_the_output():
    """Answers from pixel 224 on are right, all below are wrong."""
    pixels = np.tile(np.arange(128, 256, dtype=np.uint8), 160)
    images = np.concatenate([[0], pixels]).astype(np.uint8).reshape(-1, 1, 1, 1)
    rows = np.arange(1, len(images))
    labels = (pixels < 224).astype(int)
    shown = ValidationImages(ImageRows(images, rows), labels, "hash")
    for zero_point in (0, -128):
        found = choose(shown, zero_point)
        source = {"images": len(rows), "rows_sha256": "hash", "confidence": 0.95}
        assert found["abstain_rows"] == source
        assert list(found["abstain"]) == ["0.90", "0.95", "0.99"]
        for entry in found["abstain"].values():
            assert entry.keys() == FIELDS
            assert entry["quantized"] == entry["threshold"] / STEP + zero_point
            assert entry["threshold"] >= 220 * STEP
            above = (np.arange(200, 256) * STEP >= entry["threshold"]).sum()
            assert entry["test"]["answered"] == above
    assert choose(shown, None)["abstain"]["0.99"]["quantized"] is None


def test_without_validation_rows_there_is_a_reason_and_no_threshold():
    found = choose("the run has no validation rows", 0)
    assert found["abstain_rows"]["images"] == 0
    for entry in found["abstain"].values():
        assert entry["threshold"] is entry["quantized"] is entry["test"] is None
        assert entry["guarantee"] == "None: the run has no validation rows."


def test_a_closed_test_split_measures_nothing():
    pixels = np.tile(np.arange(128, 256, dtype=np.uint8), 160)
    shown = ValidationImages(
        ImageRows(pixels.reshape(-1, 1, 1, 1), np.arange(len(pixels))),
        (pixels < 224).astype(int),
        "hash",
    )
    entry = choose(shown, 0, test=None)["abstain"]["0.90"]
    assert entry["threshold"] is not None
    assert entry["test"] is None
