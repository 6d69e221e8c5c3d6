"""Every picture can be drawn for two and for a hundred classes, in the page's ink."""

import numpy as np
import pytest

from eval.metrics import classification
from eval.reports import html, plots


def figures(classes: int):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 300)
    raw = rng.random((300, classes)) + 2 * np.eye(classes)[labels]
    given = raw / raw.sum(axis=1, keepdims=True)
    matrix = classification.confusion(given, labels)
    names = [f"class {n}" for n in range(classes)]
    rows = [
        row | {"name": name}
        for row, name in zip(classification.per_class(matrix), names, strict=True)
    ]
    curve = {"train": ([1, 2], [0.9, 0.8]), "validation": ([2], [0.7])}
    return [
        plots.confusion(matrix, names),
        plots.per_class(rows[:50], names[:50]),
        plots.reliability({"before": classification.reliability(given, labels)}),
        plots.risk_coverage(classification.risks(given, labels)),
        plots.curves({"loss": curve, "learning_rate": {"train": ([1, 2], [1, 0])}}),
        plots.robustness({"fog": [0.9, 0.8, 0.7, 0.6, 0.5]}, 0.95),
    ]


@pytest.mark.parametrize("classes", [2, 100])
def test_every_picture_is_drawn_in_the_pages_ink(classes):
    with plots.drawing_style():
        for figure in figures(classes):
            plots.fix_layout(figure)
            text = plots.svg(figure, 'a "label"')
            assert text.startswith('<svg role="img" aria-label="a &quot;label&quot;"')
            assert "currentColor" in text
            assert plots.INK not in text
            assert "<style" not in text
            assert plots.png(figure).startswith(b"\x89PNG")


def test_the_same_picture_has_the_same_bytes():
    with plots.drawing_style():
        first, second = (plots.svg(figures(2)[2], "x") for _ in range(2))
    assert first == second


def test_numbers_as_people_read_them():
    assert html.format_percent(0.87314, 2) == "87.31\u202f%"
    assert html.format_percent(None) == html.format_number(None) == "–"
    assert html.format_interval([0.1, 0.25]) == "10.0 to 25.0\u202f%"
    assert html.format_number(1234.5, 1) == "1,234.5"
    nested = {"a": {"b": [1, 2]}, "c": None}
    assert html.table_rows(nested) == [
        ("a.b", "1, 2"),
        ("c", "–"),
    ]
