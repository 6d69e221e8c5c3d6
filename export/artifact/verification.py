"""Verifies an exported file: runs it on the test split and compares the checkpoint.

A gate accepts or refuses one file; it never chooses between models.
"""

import dataclasses
import time
import typing
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eval.metrics import classification, significance
from eval.predictors import engine
from eval.predictors.predictor import Predictor
from export.artifact.number_formats import Scheme
from trainer import errors
from trainer.errors import TrainingFailed
from trainer.models.evaluator import Images
from trainer.monitoring.progress import CONSOLE, duration

_FLOAT16_FLIPS = 0.002  # share of images that may change class
_ROUNDED_FLIPS = 0.002  # the same for float files of a checkpoint that rounds
AGREEMENT = 0.9  # of dynamic, int8 and int16x8; trained networks have 0.97 and more
_TIMED_IMAGES = 4
_LONG_SECS = 60  # if verification takes longer, a message estimates the time


@dataclasses.dataclass(frozen=True)
class VerificationSet:
    """Images that every file of a run is verified on: of its test, or held out.

    Attributes:
        images: uint8 [N, H, W, C].
        labels: int32 [N].
        names: names of the classes.
        reference: the checkpoint's probabilities, float64 [N, K], at the temperature
            that the file applies.
        sampled: whether these are not all test images.
        split: the data set's name of the split.
        split_images: number of images in the split; None: N.
        rounded: whether the checkpoint rounds activations (`qat`): a last bit may then
            change a whole step, and that an answer, also of a float file.
    """

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    reference: np.ndarray
    sampled: bool
    split: str = "test"
    split_images: int | None = None
    rounded: bool = False


@dataclasses.dataclass(frozen=True)
class Gate:
    """Limits for the difference of a file from its checkpoint; None: no limit.

    Attributes:
        flips: share of images whose predicted class may change.
        accuracy_drop: largest drop of accuracy. It counts only if its 95 % interval is
            above 0: one image of 60 is a drop of 1.7 points but not significant.
        agreement: least share of images with the class of the checkpoint. A file fails
            only if the whole 95 % interval is below. A network that has learnt little
            may keep its accuracy although most of its predictions change.
    """

    flips: float | None = None
    accuracy_drop: float | None = None
    agreement: float | None = None

    @classmethod
    def for_scheme(cls, scheme: Scheme | None, accuracy_drop: float) -> "Gate":
        """Creates the gate for a `.tflite` of `scheme`, or for a SavedModel (None)."""
        match scheme:
            case None | Scheme.FLOAT32:
                return cls(flips=0.0)
            case Scheme.FLOAT16:
                return cls(flips=_FLOAT16_FLIPS)
            case Scheme.DYNAMIC | Scheme.INT8 | Scheme.INT16X8:
                return cls(accuracy_drop=accuracy_drop, agreement=AGREEMENT)
            case _:
                typing.assert_never(scheme)

    def enforce(self, test: Mapping[str, Any], worst_layers: str = "") -> None:
        """Checks the scores in a manifest, or a row of bench.json, against the limits.

        Args:
            test: the measured values.
            worst_layers: the layers of an integer file that lose most, for the message.

        Raises:
            TrainingFailed: a limit is exceeded.
        """
        limit, images = self.flips, test["images"]
        if limit is not None and test.get("rounded"):
            limit = max(limit, _ROUNDED_FLIPS)
        if limit is not None and test["flips"] > limit * images:
            raise TrainingFailed(
                f"{test['flips']} of {images:,} images change class against the "
                f"checkpoint, limit: {int(limit * images)}; nothing was kept"
            )
        if self.accuracy_drop is not None and _exceeds_drop(test, self.accuracy_drop):
            low, high = test["accuracy_drop_interval"]
            raise TrainingFailed(
                f"accuracy drops by {test['accuracy_drop']:.4f} (95 %: {low:.4f} to "
                f"{high:.4f}) to {test['accuracy']:.4f} on {images:,} images, limit: "
                f"{self.accuracy_drop} (`max_accuracy_drop`); nothing was kept;\n"
                f"{_describe_remedy(worst_layers)}"
            )
        low, high = test["agreement_interval"]
        if self.agreement is not None and high < self.agreement:
            raise TrainingFailed(
                f"{test['agreement']:.2%} (95 %: {low:.2%} to {high:.2%}) of answers "
                f"are the checkpoint's, limit: {self.agreement:.0%}; nothing was kept;"
                "\na network that has learnt little has no answers to keep: train it "
                f"longer, or export scheme=float16{_name_layers(worst_layers)}"
            )


def _describe_remedy(worst_layers: str) -> str:
    """Describes what helps a file that loses accuracy, in one line."""
    if not worst_layers:
        return "use scheme=float16, or fine-tune the run with `qat`"
    return (
        "use scheme=int16x8, fine-tune the run with `qat`, or calibration images more "
        f"like the test images{_name_layers(worst_layers)}"
    )


def _name_layers(worst_layers: str) -> str:
    return f"; layers that lose most: {worst_layers}" if worst_layers else ""


def _exceeds_drop(test: Mapping[str, Any], limit: float) -> bool:
    """Whether accuracy falls significantly and by more than `limit`."""
    above = test["accuracy_drop"] > limit + 1e-12
    return above and test["accuracy_drop_interval"][0] > 0


def estimate_duration(
    verification_set: VerificationSet,
    predictor: Predictor,
    name: str,
    now: Callable[[], float] = time.monotonic,
    others: int = 0,
) -> str | None:
    """Measures a few images and returns the message of `describe_duration`.

    The first _TIMED_IMAGES images run one after the other; later all cores are used.
    `others` is the number of other images that the file is run on.
    """
    images, seconds = verification_set.images, []
    if len(images) < 10 * _TIMED_IMAGES:
        return None
    for count in (1, 1 + _TIMED_IMAGES):  # the first call also opens the file
        start = now()
        predictor(images[:count])
        seconds.append(now() - start)
    image_secs = max(seconds[1] - seconds[0], 0) / _TIMED_IMAGES
    return describe_duration(len(images) + others, image_secs, name)


def describe_duration(images: int, image_secs: float, name: str) -> str | None:
    """Describes how long verification will take; None if it is short.

    Args:
        images: number of images.
        image_secs: seconds that one image takes on one core.
    """
    per_image = image_secs / engine.cores()
    if per_image * images < _LONG_SECS:
        return None
    sample = max(int(_LONG_SECS / 2 / per_image), 1)
    return (
        f"{name}: to verify it on {images:,} images takes about "
        f"{duration(per_image * images)} (no fast kernels for it here); "
        f"verify_sample={sample} takes {duration(per_image * sample)}"
    )


def predict(
    verification_set: VerificationSet, predictor: Predictor, name: str
) -> np.ndarray:
    """Predicts probabilities, float64 [N, K]; `name` is shown as progress.

    Raises:
        TrainingFailed: an output is not a probability.
    """
    images, labels = verification_set.images, verification_set.labels
    return predict_images(images, labels, predictor, name)


def predict_images(
    images: Images, labels: np.ndarray, predictor: Predictor, name: str
) -> np.ndarray:
    """Predicts probabilities, float64 [N, K], of `images` uint8 [N, H, W, C].

    Raises:
        TrainingFailed: an output is not a probability.
    """
    with errors.failing_on_value_errors(name):
        with CONSOLE.count(len(images), f"testing {name}") as tick:
            probabilities = predictor(images, tick)
        classification.validate(probabilities, labels)
    return probabilities


def describe(
    verification_set: VerificationSet, predictor: Predictor, probabilities: np.ndarray
) -> dict[str, Any]:
    """Returns the "test" of a manifest for what `predictor` answered, [N, K]."""
    test = compare(verification_set, probabilities, predictor.min_probability)
    return test | {"engine": dict(predictor.model.engine)}


def compare(
    verification_set: VerificationSet, probabilities: np.ndarray, floor: float
) -> dict[str, Any]:
    """Scores `probabilities`, float64 [N, K], and compares them with the reference.

    Args:
        floor: least probability that is not stored as 0.
    """
    labels, reference = verification_set.labels, verification_set.reference
    correct = classification.correct(probabilities, labels)
    reference_correct = classification.correct(reference, labels)
    flips = count_flips(probabilities, reference)
    return {
        "images": len(labels),
        "split": verification_set.split,
        "split_images": verification_set.split_images or len(labels),
        "sampled": verification_set.sampled,
        "rounded": verification_set.rounded,
        **_quality(probabilities, labels, floor),
        "accuracy_drop": int(reference_correct.sum() - correct.sum()) / len(labels),
        "accuracy_drop_interval": significance.paired_difference(
            reference_correct, correct
        ),
        "agreement": 1 - flips / len(labels),
        "agreement_interval": classification.interval(len(labels) - flips, len(labels)),
        "flips": flips,
        "ties": classification.ties(probabilities),
        "largest_difference": float(np.abs(probabilities - reference).max()),
        "mcnemar": significance.mcnemar(reference_correct, correct),
        "worst_class_drop": _worst_class(verification_set, probabilities),
        "checkpoint": _quality(reference, labels, classification.SMALLEST),
    }


def count_flips(probabilities: np.ndarray, reference: np.ndarray) -> int:
    """Counts the images whose predicted class differs, float64 [N, K] each."""
    predicted = classification.predictions(probabilities)
    return int((predicted != classification.predictions(reference)).sum())


def _quality(
    probabilities: np.ndarray, labels: np.ndarray, floor: float
) -> dict[str, Any]:
    correct = int(classification.correct(probabilities, labels).sum())
    return {
        "correct": correct,
        "accuracy": correct / len(labels),
        "accuracy_interval": classification.interval(correct, len(labels)),
        "nll": classification.nll(probabilities, labels, floor),
        "ece": classification.ece(classification.reliability(probabilities, labels)),
    }


def _worst_class(
    verification_set: VerificationSet, probabilities: np.ndarray
) -> dict[str, Any]:
    """Finds the class whose recall falls most, and by how much."""
    labels, names = verification_set.labels, verification_set.names
    before, after = (
        np.diag(classification.confusion(p, labels))
        for p in (verification_set.reference, probabilities)
    )
    support = np.bincount(labels, minlength=len(names))
    drops = (before - after) / np.maximum(support, 1)
    worst = int(drops.argmax())
    return {"class": names[worst], "drop": float(drops[worst])}
