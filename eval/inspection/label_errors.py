"""Likely label errors by out-of-sample probabilities.

Confident learning (Northcutt, Jiang & Chuang, Confident Learning: Estimating
Uncertainty in Dataset Labels, 2021).
"""

import numpy as np


def find_label_errors(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows whose label is likely wrong, the likeliest first: int64.

    A row of label i counts for class j if j is the likeliest of the classes that reach
    their usual probability, which is the mean on rows of that label. Of label i so many
    rows as counted for j are suspect, those with the largest p(j) - p(i) ("prune by
    noise rate"), and so is every row that counted for another class. A row whose
    likeliest class is its label is not. `probabilities` are of a model that was not
    trained on these rows: float [N, C].
    """
    rows = np.arange(len(labels))
    answers = probabilities.argmax(axis=1)
    guesses = _guess_classes(probabilities, labels, answers)
    suspect = (guesses >= 0) & (guesses != labels)
    joint = _calibrated_joint(guesses, labels, probabilities.shape[1])
    for label, other in np.argwhere(joint > 0):
        if label != other:
            own = np.flatnonzero(labels == label)
            margin = probabilities[own, other] - probabilities[own, label]
            order = np.argsort(-margin, kind="stable")
            suspect[own[order[: joint[label, other]]]] = True
    found = np.flatnonzero(suspect & (answers != labels))
    margin = probabilities[rows, labels] - probabilities.max(axis=1)
    return found[np.argsort(margin[found], kind="stable")]


def _guess_classes(
    probabilities: np.ndarray, labels: np.ndarray, answers: np.ndarray
) -> np.ndarray:
    """The class that each row counts for; -1: none reaches its usual probability."""
    classes = probabilities.shape[1]
    count = np.bincount(labels, minlength=classes)
    own = probabilities[np.arange(len(labels)), labels]
    usual = np.bincount(labels, own, classes) / np.maximum(count, 1)
    usual[count == 0] = np.inf
    reached = probabilities >= usual - 1e-6
    alone = np.where(reached.sum(axis=1) > 1, answers, reached.argmax(axis=1))
    return np.where(reached.any(axis=1), alone, -1)


def _calibrated_joint(
    guesses: np.ndarray, labels: np.ndarray, classes: int
) -> np.ndarray:
    """Rows by label and guess, int [C, C], as if every row had counted for a class."""
    known = guesses >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[known], guesses[known]), 1)
    np.fill_diagonal(joint, np.maximum(np.diag(joint), 1))
    count = np.bincount(labels, minlength=classes)[:, None]
    # Rounded up: a class of few rows is not to lose its only suspect.
    return np.ceil(joint / joint.sum(axis=1, keepdims=True) * count - 1e-9).astype(int)
