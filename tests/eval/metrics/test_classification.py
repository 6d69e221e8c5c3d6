"""Every score equals an independent implementation, and keeps its laws."""

import ast
import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from sklearn import metrics

from eval.metrics import classification
from trainer.models.intervals import wilson_interval

EPS = float(np.finfo(np.float64).eps)


def table(seed: int, rows: int = 200, classes: int = 5, sharpness: float = 1.0):
    """Random probabilities [rows, classes] and labels that they know something of."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(rows, classes))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    labels = np.where(
        rng.random(rows) < 0.5, logits.argmax(axis=1), rng.integers(0, classes, rows)
    )
    return powers / powers.sum(axis=1, keepdims=True), labels


@pytest.fixture(params=[(0, 0.01), (1, 1.0), (2, 30.0), (3, 1000.0)])
def case(request):
    """Flat, ordinary, sharp and nearly one-hot answers."""
    seed, sharpness = request.param
    return table(seed, sharpness=sharpness)


def test_accuracy_equals_scikit_learn(case):
    probabilities, labels = case
    expected = metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    assert classification.accuracy(probabilities, labels) == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_top_k_equals_scikit_learn(k):
    probabilities, labels = table(4)
    expected = metrics.top_k_accuracy_score(labels, probabilities, k=k, labels=range(5))
    assert classification.top_k(probabilities, labels, k) == pytest.approx(
        expected, abs=1e-12
    )


def test_nll_equals_scikit_learn(case):
    probabilities, labels = case
    expected = metrics.log_loss(labels, probabilities, labels=range(5))
    ours = classification.nll(probabilities, labels, min_probability=EPS)
    assert ours == pytest.approx(expected, abs=1e-9)


def test_brier_equals_scikit_learn(case):
    probabilities, labels = case
    expected = metrics.brier_score_loss(
        labels, probabilities, labels=range(5), scale_by_half=False
    )
    assert classification.brier(probabilities, labels) == pytest.approx(
        expected, abs=1e-9
    )


def test_per_class_and_means_equal_scikit_learn(case):
    probabilities, labels = case
    predicted = probabilities.argmax(axis=1)
    rows = classification.per_class(classification.confusion(probabilities, labels))
    expected = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(5), zero_division=0
    )
    names = ("precision", "recall", "f1", "support")
    for name, values in zip(names, expected, strict=True):
        np.testing.assert_allclose([row[name] for row in rows], values, atol=1e-9)
    for kind, mean in classification.class_means(rows).items():
        values = metrics.precision_recall_fscore_support(
            labels, predicted, labels=range(5), zero_division=0, average=kind
        )
        ours = [mean["precision"], mean["recall"], mean["f1"]]
        np.testing.assert_allclose(ours, values[:3], atol=1e-9)


def test_roc_auc_equals_scikit_learn(case):
    probabilities, labels = case
    expected = metrics.roc_auc_score(
        labels, probabilities, multi_class="ovr", average=None, labels=range(5)
    )
    np.testing.assert_allclose(
        classification.roc_auc(probabilities, labels), expected, atol=1e-9
    )


def test_ece_equals_a_sum_over_the_bins(case):
    probabilities, labels = case
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].mean())
            expected += gap * inside.mean()
    ours = classification.ece(classification.reliability(probabilities, labels))
    assert ours == pytest.approx(expected, abs=1e-9)


def test_risks_equal_a_loop_without_ties():
    probabilities, labels = table(5)
    order = np.argsort(-probabilities.max(axis=1))
    wrong = (probabilities.argmax(axis=1) != labels)[order]
    expected = [wrong[: n + 1].mean() for n in range(len(wrong))]
    np.testing.assert_allclose(classification.risks(probabilities, labels), expected)


def test_by_hand():
    probabilities = np.array([[0.7, 0.3], [0.4, 0.6], [0.8, 0.2], [0.5, 0.5]])
    labels = np.array([0, 1, 1, 0])
    assert classification.accuracy(probabilities, labels) == 0.75
    assert classification.ties(probabilities) == 1
    assert classification.top_k(probabilities, labels, 2) == 1.0
    assert classification.confusion(probabilities, labels).tolist() == [[2, 0], [1, 1]]
    assert classification.brier(probabilities, labels) == pytest.approx(
        (2 * 0.3**2 + 2 * 0.4**2 + 2 * 0.8**2 + 2 * 0.5**2) / 4
    )
    assert classification.nll(probabilities, labels) == pytest.approx(
        -np.log(0.7 * 0.6 * 0.2 * 0.5) / 4
    )
    first, second = classification.per_class(
        classification.confusion(probabilities, labels)
    )
    assert (first["precision"], first["recall"]) == (pytest.approx(2 / 3), 1.0)
    assert second["f1"] == pytest.approx(2 / 3)
    assert first["recall_interval"] == list(wilson_interval(2, 2))
    np.testing.assert_allclose(
        classification.risks(probabilities, labels), [1, 1 / 2, 1 / 3, 1 / 4]
    )


def test_ties_go_to_the_lower_class():
    even = np.full((3, 4), 0.25)
    assert classification.predictions(even).tolist() == [0, 0, 0]
    assert classification.top_k(even, np.array([0, 1, 2]), 2) == pytest.approx(2 / 3)


def test_an_equal_mass_bin_never_parts_equal_confidences():
    probabilities = np.array([[0.9, 0.1]] * 30 + [[0.6, 0.4]] * 3)
    labels = np.array([0, 1] * 16 + [0])
    bins = classification.reliability(probabilities, labels, equal_mass=True)
    assert [row["count"] for row in bins] == [3, 30]


def test_a_zero_counts_as_the_floor():
    probabilities = np.array([[1.0, 0.0]])
    label = np.array([1])
    assert classification.nll(
        probabilities, label, min_probability=1 / 512
    ) == pytest.approx(np.log(512))
    assert np.isfinite(classification.nll(probabilities, label))


def test_one_hot_limits():
    labels = np.arange(6) % 3
    right = classification.compute_scores(np.eye(3)[labels], labels, list("abc"))
    assert right["accuracy"] == right["roc_auc_macro"] == right["macro"]["f1"] == 1
    assert right["nll"] == right["brier"] == right["ece"] == right["aurc"] == 0
    wrong = classification.compute_scores(
        np.eye(3)[(labels + 1) % 3], labels, list("abc")
    )
    assert wrong["accuracy"] == 0
    assert wrong["brier"] == 2
    assert wrong["ece"] == wrong["aurc"] == 1
    assert wrong["clipped"] == 6


def test_a_class_without_rows_has_no_auc_and_a_whole_interval():
    probabilities, labels = table(6)
    labels[labels == 4] = 0
    result = classification.compute_scores(probabilities, labels, list("abcde"))
    last = result["per_class"][4]
    assert last["roc_auc"] is None
    assert last["support"] == 0
    assert last["recall_interval"] == [0.0, 1.0]
    assert result["roc_auc_macro"] is not None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_a_bad_row_is_named(bad):
    probabilities, labels = table(7)
    probabilities[17, 2] = bad
    with pytest.raises(ValueError, match="row 17 of the probabilities"):
        classification.validate(probabilities, labels)


@pytest.mark.parametrize("labels", [[0, 5], [0, -1], [0]])
def test_bad_labels_are_refused(labels):
    with pytest.raises(ValueError, match="label"):
        classification.validate(np.full((2, 5), 0.2), np.array(labels))


drawn = st.integers(0, 2**32 - 1)
quick = hypothesis.settings(max_examples=25, deadline=None)
LEVELS = 8  # coarse probabilities, so that there are ties of every sort


def coarse(seed: int):
    rng = np.random.default_rng(seed)
    rows, classes = rng.integers(1, 40), rng.integers(2, 6)
    counts = rng.multinomial(LEVELS, np.full(classes, 1 / classes), size=rows)
    return counts / LEVELS, rng.integers(0, classes, rows), rng


def figures(probabilities, labels):
    """All scores that are plain numbers."""
    names = [str(index) for index in range(probabilities.shape[1])]
    result = classification.compute_scores(
        probabilities, labels, names, min_probability=1 / 16
    )
    return {k: v for k, v in result.items() if isinstance(v, int | float)}


@quick
@hypothesis.given(drawn)
def test_the_order_of_rows_changes_nothing(seed):
    probabilities, labels, rng = coarse(seed)
    order = rng.permutation(len(labels))
    before = figures(probabilities, labels)
    after = figures(probabilities[order], labels[order])
    assert after == pytest.approx(before, abs=1e-12)


@quick
@hypothesis.given(drawn)
def test_the_names_of_classes_change_nothing_but_ties(seed):
    probabilities, labels, rng = coarse(seed)
    probabilities = probabilities + 1e-6 * rng.random(probabilities.shape)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    order = rng.permutation(probabilities.shape[1])
    before = figures(probabilities, labels)
    after = figures(probabilities[:, order], np.argsort(order)[labels])
    assert after == pytest.approx(before, abs=1e-9)


@quick
@hypothesis.given(drawn)
def test_intervals_hold_their_estimate(seed):
    probabilities, labels, _ = coarse(seed)
    for row in classification.per_class(
        classification.confusion(probabilities, labels)
    ):
        for name in ("precision", "recall", "f1"):
            low, high = row[f"{name}_interval"]
            assert 0 <= low <= row[name] + 1e-12
            assert row[name] <= high + 1e-12 <= 1 + 1e-9


def test_most_confused_lists_mistakes_only_and_in_order():
    matrix = np.array([[5, 2, 0], [2, 5, 1], [0, 0, 5]])
    found = classification.most_confused(matrix)
    assert [(f["label"], f["prediction"], f["count"]) for f in found] == [
        (0, 1, 2),
        (1, 0, 2),
        (1, 2, 1),
    ]


def test_scores_import_no_tensorflow():
    source = pathlib.Path(classification.__file__).read_text()
    roots = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert roots <= {"collections", "math", "typing", "numpy", "sklearn", "trainer"}
