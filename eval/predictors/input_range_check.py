"""Checks whether a file is more accurate with another conversion of its input.

It changes nothing: it returns a message, and the user decides.
"""

from eval.metrics import classification, significance
from eval.predictors.predictor import Predictor
from trainer.data import sampler
from trainer.data.split import Split
from trainer.monitoring.progress import CONSOLE

IMAGES = 200
_LIMIT = 0.001  # of McNemar's p-value, so that chance does not cause a message


def suggest_reading(predictor: Predictor, split: Split) -> list[str]:
    """Suggests another conversion of the input if it is clearly more accurate."""
    others = predictor.alternative_readings()
    if not others:
        return []
    rows = sampler.spread_rows(len(split.labels), IMAGES)
    images, labels = split.images[rows], split.labels[rows]
    predictors = {"": predictor.with_tta(predictor.tta), **others}
    try:
        with CONSOLE.count(len(rows) * len(predictors), "trying input ranges") as tick:
            right = {
                flag: classification.correct(one(images, tick), labels)
                for flag, one in predictors.items()
            }
    except ValueError:
        return []  # the evaluation itself reports what is wrong with the outputs
    own = right.pop("")
    best = max(right, key=lambda flag: right[flag].sum())
    better = right[best].sum() > own.sum()
    if not better or significance.mcnemar(own, right[best])["p_value"] > _LIMIT:
        return []
    return [
        f"{predictor.name} gets {own.mean():.1%} of {len(rows)} images right as its"
        f" input is read, {right[best].mean():.1%} with {best}"
    ]
