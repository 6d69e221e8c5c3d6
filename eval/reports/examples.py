"""Selects the test images that a report shows."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from eval.metrics import classification

TOP = 3  # likeliest classes of an image that is described
SIDE = 192  # pixels of an image on a page, twice as many as it has on a plain screen


def mistakes(probabilities: np.ndarray, labels: np.ndarray, limit: int) -> np.ndarray:
    """Selects wrong predictions, most confident first: int64 rows, at most `limit`.

    Where there are more, each class has its turn: the most confident mistake of every
    class, then the second of every class, and so on.
    """
    wrong = np.flatnonzero(~classification.correct(probabilities, labels))
    wrong = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]
    turn = np.zeros(len(wrong), int)
    for label in np.unique(labels[wrong]):
        own = labels[wrong] == label
        turn[own] = np.arange(own.sum())
    chosen = np.argsort(turn, kind="stable")[:limit]
    return wrong[np.sort(chosen)]


def least_certain(probabilities: np.ndarray, limit: int) -> np.ndarray:
    """Selects the least confident predictions: int64 rows, at most `limit`."""
    every = np.ones(len(probabilities), bool)
    return _largest(-probabilities.max(axis=1), every, limit)


def label_errors(
    probabilities: np.ndarray, labels: np.ndarray, limit: int
) -> np.ndarray:
    """Selects likely wrong labels, most likely first: int64 rows, at most `limit`.

    This is confident learning (Northcutt, Jiang & Chuang 2021): a class other than the
    label reaches the mean probability that it has on its own images. Rows are sorted by
    the difference between the probabilities of that class and of the label.
    """
    classes = probabilities.shape[1]
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    count = np.bincount(labels, minlength=classes)
    usual = np.bincount(labels, own, classes) / np.maximum(count, 1)
    usual[count == 0] = np.inf
    confident = np.where(probabilities >= usual, probabilities, -1)
    other = confident.argmax(axis=1)
    suspect = (confident[rows, other] >= 0) & (other != labels)
    suspect &= other == classification.predictions(probabilities)
    return _largest(probabilities[rows, other] - own, suspect, limit)


def _largest(values: np.ndarray, among: np.ndarray, limit: int) -> np.ndarray:
    rows = np.flatnonzero(among)
    return rows[np.argsort(-values[rows], kind="stable")][:limit]


def describe_rows(
    rows: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, ids: Sequence[str]
) -> list[dict[str, Any]]:
    """Describes each row for report.json."""
    predicted = classification.predictions(probabilities)
    likeliest = np.argsort(-probabilities[rows], axis=1, kind="stable")[:, :TOP]
    return [
        {
            "row": int(row),
            "id": ids[row],
            "label": int(labels[row]),
            "prediction": int(predicted[row]),
            "confidence": float(probabilities[row].max()),
            "label_probability": float(probabilities[row, labels[row]]),
            "likeliest": [
                {"class": int(one), "probability": float(probabilities[row, one])}
                for one in best
            ],
        }
        for row, best in zip(rows, likeliest, strict=True)
    ]


def data_uri(image: np.ndarray) -> str:
    """Encodes `image` uint8 [H, W, C] as a data URI.

    If C is not 3, only the first channel is shown. A large image becomes a JPEG of
    about ten kilobytes.
    """
    shown = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    kind, buffer = "png" if max(shown.size) <= SIDE // 2 else "jpeg", io.BytesIO()
    shown.thumbnail((SIDE, SIDE))
    shown.save(buffer, kind)
    packed = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{kind};base64,{packed}"
