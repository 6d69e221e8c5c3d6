"""What a model refuses to answer: the part "abstention" of report.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.abstention.thresholds import Thresholds
from eval.metrics import classification, selective_thresholds
from eval.metrics.selective_thresholds import CONFIDENCE, TARGETS, Threshold
from eval.reports import examples
from eval.robustness.no_class_images import NoClassImages
from eval.runner import Evaluation
from trainer.models import evaluator
from trainer.monitoring.progress import CONSOLE

GALLERY_TARGET = 0.95  # whose refusals are shown; where it has none: the next lower
GALLERY_IMAGES = 8  # of each kind
_EXAMPLES = 4  # of images of no class


def describe_abstention(
    evaluation: Evaluation,
    found: Thresholds | str,
    no_class: Sequence[NoClassImages],
) -> dict[str, Any]:
    """Measures what is refused; docs/report_schema.md describes the fields.

    Args:
        found: the model's thresholds, or the reason why there are none.
        no_class: images that show none of the classes.

    Raises:
        ValueError: an output is not finite or no probability.
    """
    targets = [] if isinstance(found, str) else [found.find(t) for t in TARGETS]
    shown = _choose_shown(targets)
    return {
        "why": found if isinstance(found, str) else None,
        "rows": 0 if isinstance(found, str) else found.rows,
        "confidence": CONFIDENCE,
        "targets": [_describe_target(evaluation, one) for one in targets],
        "curve": _trace_curve(evaluation),
        "gallery_target": shown and shown.target,
        "refused": _choose_refused(evaluation, shown),
        "no_class": [
            _describe_no_class(evaluation, each, targets, shown) for each in no_class
        ],
    }


def _choose_shown(targets: Sequence[Threshold]) -> Threshold | None:
    """The threshold whose refusals are shown; None: there is none."""
    known = [
        one for one in targets if one.value is not None and one.target <= GALLERY_TARGET
    ]
    return max(known, key=lambda one: one.target, default=None)


def _describe_target(evaluation: Evaluation, one: Threshold) -> dict[str, Any]:
    answers, labels = evaluation.calibrated, evaluation.split.labels
    refused_right = refused_wrong = None
    if one.value is not None:
        refused = answers.max(axis=1) < one.value
        right = classification.correct(answers, labels)
        refused_right = int((refused & right).sum())
        refused_wrong = int((refused & ~right).sum())
    return {
        "target": one.target,
        "threshold": one.value,
        "coverage_validation": one.coverage,
        "selective_accuracy_validation": one.selective_accuracy,
        "guarantee": one.guarantee,
        "test": selective_thresholds.measure(answers, labels, one),
        "refused_right": refused_right,
        "refused_wrong": refused_wrong,
    }


def _trace_curve(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Coverage and selective accuracy of the test images at each threshold."""
    labels = evaluation.split.labels
    counts = selective_thresholds.count_answers(evaluation.calibrated, labels, 0.0)
    columns = (counts.thresholds, counts.answered, counts.wrong)
    return [
        {
            "threshold": threshold,
            "coverage": answered / counts.rows,
            "selective_accuracy": 1 - wrong / answered if answered else None,
        }
        for threshold, answered, wrong in zip(
            *map(np.ndarray.tolist, columns), strict=True
        )
    ]


def _choose_refused(
    evaluation: Evaluation, shown: Threshold | None
) -> dict[str, list[dict[str, Any]]]:
    """Test images that are refused, the most confident first, by whether it helps."""
    if shown is None:
        return {"wrong": [], "right": []}
    answers, split = evaluation.calibrated, evaluation.split
    right = classification.correct(answers, split.labels)
    confidence = answers.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    order = order[confidence[order] < shown.value]
    return {
        kind: examples.describe_rows(
            order[right[order] == whether][:GALLERY_IMAGES],
            answers,
            split.labels,
            split.ids,
        )
        for kind, whether in (("wrong", False), ("right", True))
    }


def _describe_no_class(
    evaluation: Evaluation,
    shown_images: NoClassImages,
    targets: Sequence[Threshold],
    shown: Threshold | None,
) -> dict[str, Any]:
    images = shown_images.images
    views = len(images) * evaluator.count_views(evaluation.predictor.tta)
    with CONSOLE.count(views, f"images of no class, {shown_images.name}") as tick:
        answers = evaluation.predict(images, tick)
    classification.validate(answers, np.zeros(len(images), int))
    confidence = answers.max(axis=1)
    surest = np.argsort(-confidence, kind="stable")[:_EXAMPLES]
    return {
        "name": shown_images.name,
        "what": shown_images.what,
        "images": len(images),
        "median_confidence": float(np.median(confidence)),
        "refused": [_share_refused(confidence, one) for one in targets],
        "examples": [
            {
                "index": int(row),
                "prediction": int(answers[row].argmax()),
                "confidence": float(confidence[row]),
                "answered": shown and bool(confidence[row] >= shown.value),
            }
            for row in surest
        ],
    }


def _share_refused(confidence: np.ndarray, one: Threshold) -> dict[str, Any]:
    if one.value is None:
        return {"target": one.target, "share": None, "interval": None}
    refused = int((confidence < one.value).sum())
    return {
        "target": one.target,
        "share": refused / len(confidence),
        "interval": classification.interval(refused, len(confidence)),
    }


def data_uris(
    section: dict[str, Any] | None, no_class: Sequence[NoClassImages]
) -> dict[str, dict[int, str]]:
    """Data URIs of the examples that `section` names: by set, by index."""
    pixels = {each.name: each.images for each in no_class}
    return {
        each["name"]: {
            one["index"]: examples.data_uri(pixels[each["name"]][one["index"]])
            for one in each["examples"]
        }
        for each in (section or {}).get("no_class", ())
    }
