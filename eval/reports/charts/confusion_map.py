"""A confusion matrix of many classes as SVG: the errors alone, every class named."""

from collections.abc import Sequence
from html import escape

import numpy as np
from markupsafe import Markup

from trainer.monitoring.printable import abbreviate

MOST = 100  # classes; of more, those with the most mistakes are drawn
CELL = 10  # units: a name is as high
LETTERS = 15  # of a name
SHADES = 5
NAME = 80  # units for names at the left and at the top


def choose_classes(matrix: np.ndarray, limit: int) -> np.ndarray:
    """Chooses the classes with the most mistakes, ascending ids: int64 [n]."""
    wrong = _errors(matrix)
    total = wrong.sum(axis=0) + wrong.sum(axis=1)
    return np.sort(np.argsort(-total, kind="stable")[:limit])


def _errors(matrix: np.ndarray) -> np.ndarray:
    return matrix - np.diag(np.diag(matrix))


def shade(count: int, most: int) -> int:
    """The shade of a cell, 1 to SHADES; 0 for no mistake."""
    if count <= 0:
        return 0
    return min(SHADES, 1 + int((SHADES - 1) * (count / max(most, 1)) ** 0.7 + 1e-9))


def confusion_map(matrix: np.ndarray, names: Sequence[str]) -> Markup:
    """Draws the mistakes among the classes that have the most, at most MOST.

    Args:
        matrix: int [C, C], labels down and predictions across.
    """
    rows = choose_classes(matrix, MOST)
    wrong = _errors(matrix)[np.ix_(rows, rows)]
    texts = [escape(abbreviate(names[row], LETTERS) or "(blank)") for row in rows]
    side = NAME + CELL * len(rows)
    parts = [*_grid(len(rows), side), *_names(texts)]
    most = int(wrong.max(initial=0))
    for row, column in np.argwhere(wrong).tolist():
        count = int(wrong[row, column])
        parts.append(
            f'<rect class="e{shade(count, most)}" x="{NAME + CELL * column}"'
            f' y="{NAME + CELL * row}" width="{CELL}" height="{CELL}"><title>'
            f"{texts[row]} taken for {texts[column]}: {count:,}</title></rect>"
        )
    label = f"Mistakes among {len(rows)} classes: labels down, predictions across"
    return Markup(
        f'<svg class="map" role="img" aria-label="{label}" width="{side}"'
        f' viewBox="0 0 {side} {side}">{"".join(parts)}</svg>'
    )


def _grid(count: int, side: int) -> list[str]:
    """A line at every fifth class, and the diagonal, where answers are right."""
    lines = [
        f'<path class="grid" d="M{NAME} {at}H{side}M{at} {NAME}V{side}"/>'
        for at in range(NAME, side + 1, 5 * CELL)
    ]
    diagonal = f'<path class="ideal" d="M{NAME} {NAME}L{side} {side}"/>'
    return [*lines, diagonal] if count else lines


def _names(texts: Sequence[str]) -> list[str]:
    parts = []
    for n, text in enumerate(texts):
        middle = NAME + CELL * (n + 0.5) + 3
        parts.append(
            f'<text x="{NAME - 4}" y="{middle}" text-anchor="end">{text}</text>'
        )
        turned = f"translate({middle} {NAME - 4}) rotate(-90)"
        parts.append(f'<text transform="{turned}">{text}</text>')
    return parts
