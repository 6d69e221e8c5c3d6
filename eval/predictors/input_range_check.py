"""Input ranges: whether a file would answer better if its pixels were read otherwise.

Nothing is chosen by it: a line is said, and the reader decides.
"""

import numpy as np

from eval import progress_bar
from eval.metrics import classification, significance
from eval.predictors.predictor import Predictor
from trainer.data.split import Split

IMAGES = 200
_LIMIT = 0.001  # of McNemar's p-value: such a line must not come by chance


def suggestion(predictor: Predictor, split: Split) -> list[str]:
    """A line if another range gets clearly more of a few images right, or none."""
    others = predictor.readings()
    if not others:
        return []
    count = len(split.labels)
    rows = np.linspace(0, count - 1, min(IMAGES, count)).round().astype(int)
    images, labels = split.images[rows], split.labels[rows]
    asked = {"": predictor.averaging(predictor.tta), **others}
    try:
        with progress_bar.progress_bar(len(rows) * len(asked), "input range") as tick:
            right = {
                flag: classification.correct(one(images, tick), labels)
                for flag, one in asked.items()
            }
    except ValueError:
        return []  # the evaluation itself says what is wrong with its answers
    own = right.pop("")
    best = max(right, key=lambda flag: right[flag].sum())
    better = right[best].sum() > own.sum()
    if not better or significance.mcnemar(own, right[best])["p_value"] > _LIMIT:
        return []
    return [
        f"{predictor.name} gets {own.mean():.1%} of {len(rows)} images right as its"
        f" input is read, {right[best].mean():.1%} with {best}"
    ]
