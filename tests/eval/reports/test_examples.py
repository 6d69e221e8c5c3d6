"""The right images are picked, in the right order."""

import base64
import io

import numpy as np
from PIL import Image

from eval.reports import examples

P = np.array(
    [[0.9, 0.1], [0.2, 0.8], [0.05, 0.95], [0.55, 0.45], [0.9, 0.1], [0.3, 0.7]]
)
LABELS = np.array([0, 1, 0, 0, 1, 1])


def test_mistakes_come_surest_first():
    assert examples.mistakes(P, LABELS, 10).tolist() == [2, 4]
    assert examples.mistakes(P, LABELS, 1).tolist() == [2]


def test_of_many_mistakes_each_class_has_its_turn():
    given = np.array([[0.9, 0.1]] * 3 + [[0.4, 0.6]])
    labels = np.array([1, 1, 1, 0])
    assert examples.mistakes(given, labels, 2).tolist() == [0, 3]


def test_least_certain_counts_right_answers_too():
    assert examples.least_certain(P, 2).tolist() == [3, 5]


def test_label_errors_need_a_confident_other_class():
    # Class 0 usually has (0.9 + 0.05 + 0.55) / 3 = 0.5, class 1 (0.8 + 0.1 + 0.7) / 3.
    assert examples.label_errors(P, LABELS, 10).tolist() == [2, 4]
    assert examples.label_errors(P[[0, 1]], LABELS[[0, 1]], 10).tolist() == []


def test_entries_are_plain_values():
    (entry,) = examples.describe_rows(
        np.array([2]), P, LABELS, ["a", "b", "c", "d", "e", "f"]
    )
    assert entry == {
        "row": 2,
        "id": "c",
        "label": 0,
        "prediction": 1,
        "confidence": 0.95,
        "label_probability": 0.05,
        "likeliest": [
            {"class": 1, "probability": 0.95},
            {"class": 0, "probability": 0.05},
        ],
    }


def test_a_data_uri_holds_the_very_pixels():
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    text = examples.data_uri(image).split(",")[1]
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    np.testing.assert_array_equal(back, image)
