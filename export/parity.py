"""Runs an exported file on the test split beside its checkpoint; lets it pass or not.

A gate accepts or refuses one file; it never chooses between models.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eval import engine, progress, scores, significance
from eval.predictors import Predictor
from export.scheme import Scheme
from trainer.commandline import Failure
from trainer.progress import duration

_FLOAT16_FLIPS = 0.002  # share of images that may change class
_TRIED, _LONG_SECS = 4, 60  # images that are timed; a time worth a word
AGREEMENT = 0.9  # of dynamic, int8 and int16x8; trained networks have 0.97 and more


@dataclasses.dataclass(frozen=True)
class Exam:
    """What every file of a run is asked, and what the checkpoint answers.

    Attributes:
        images: uint8 [N, H, W, C], of the test split.
        labels: int32 [N].
        names: of the classes.
        reference: the checkpoint's probabilities float64 [N, K], at the temperature
            that the file has inside.
        sampled: whether these are fewer than all test images.
        split: which one of the data set they are of.
        split_images: how many there are in it; None for these.
    """

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    reference: np.ndarray
    sampled: bool
    split: str = "test"
    split_images: int | None = None


@dataclasses.dataclass(frozen=True)
class Gate:
    """What a file may lose against its checkpoint; None is not asked.

    Attributes:
        flips: share of images that may change class, counted as they are.
        accuracy_drop: counted where its 95 % interval lies above 0: one image lost of
            60 is a drop of 1.7 points and no sign of anything.
        agreement: share of answers that must be the checkpoint's; missed where the
            whole 95 % interval lies below. A network that has learnt little keeps its
            accuracy whatever becomes of its answers.
    """

    flips: float | None = None
    accuracy_drop: float | None = None
    agreement: float | None = None

    @classmethod
    def of(cls, scheme: Scheme | None, accuracy_drop: float) -> "Gate":
        """The gate of a .tflite of `scheme`; None is a SavedModel."""
        match scheme:
            case None | Scheme.FLOAT32:
                return cls(flips=0.0)
            case Scheme.FLOAT16:
                return cls(flips=_FLOAT16_FLIPS)
            case _:
                return cls(accuracy_drop=accuracy_drop, agreement=AGREEMENT)

    def check(self, test: dict[str, Any]) -> None:
        """Raises Failure, with what was measured, unless `test` passes."""
        limit, images = self.flips, test["images"]
        if limit is not None and test["flips"] > limit * images:
            raise Failure(
                f"{test['flips']} of {images:,} images change class against the "
                f"checkpoint, limit: {int(limit * images)}; nothing was kept"
            )
        if self.accuracy_drop is not None and drops(test, self.accuracy_drop):
            low, high = test["accuracy_drop_interval"]
            raise Failure(
                f"accuracy drops by {test['accuracy_drop']:.4f} (95 %: {low:.4f} to "
                f"{high:.4f}) to {test['accuracy']:.4f} on {images:,} images, limit: "
                f"{self.accuracy_drop} (--max_accuracy_drop); nothing was kept;\na"
                " large drop of an integer file means calibration images unlike the"
                " test images"
            )
        low, high = test["agreement_interval"]
        if self.agreement is not None and high < self.agreement:
            raise Failure(
                f"{test['agreement']:.2%} (95 %: {low:.2%} to {high:.2%}) of answers "
                f"are the checkpoint's, limit: {self.agreement:.0%}; nothing was kept;"
                "\na network that has learnt little has no answers to keep: train it "
                "longer, or export --scheme=float16"
            )


def drops(test: Mapping[str, Any], limit: float) -> bool:
    """Whether accuracy falls by more than `limit`, and not by chance."""
    above = test["accuracy_drop"] > limit + 1e-12
    return above and test["accuracy_drop_interval"][0] > 0


def foretell(
    exam: Exam,
    predictor: Predictor,
    what: str,
    now: Callable[[], float] = time.monotonic,
) -> str | None:
    """A line on how long `exam` will take; None if it is soon over.

    The first _TRIED images are asked, one after the other; the rest are shared out
    among the cores.
    """
    images, taken = exam.images, []
    if len(images) < 10 * _TRIED:
        return None
    for count in (1, 1 + _TRIED):  # the first call also opens the file
        start = now()
        predictor(images[:count])
        taken.append(now() - start)
    return foretold(len(images), max(taken[1] - taken[0], 0) / _TRIED, what)


def foretold(images: int, secs: float, what: str) -> str | None:
    """A line on how long `images` take whose every one takes a core `secs` seconds."""
    each = secs / engine.cores()
    if each * images < _LONG_SECS:
        return None
    sample = max(int(_LONG_SECS / 2 / each), 1)
    return (
        f"{what}: to verify it on {images:,} images takes about "
        f"{duration(each * images)} (no fast kernels for it here); "
        f"--verify_sample={sample} takes {duration(each * sample)}"
    )


def measure(exam: Exam, predictor: Predictor, what: str) -> dict[str, Any]:
    """The "test" of a manifest: what `predictor` answers in `exam`, compared."""
    found = compare(exam, ask(exam, predictor, what), predictor.floor)
    return found | {"engine": dict(predictor.model.engine)}


def ask(exam: Exam, predictor: Predictor, what: str) -> np.ndarray:
    """Probabilities float64 [N, K]; `what` names the progress bar.

    Raises:
        Failure: an answer is no probability.
    """
    try:
        with progress.bar(len(exam.images), what) as tick:
            answers = predictor(exam.images, tick)
        scores.check(answers, exam.labels)
    except ValueError as error:
        raise Failure(f"{what}: {error}") from error
    return answers


def compare(exam: Exam, answers: np.ndarray, floor: float) -> dict[str, Any]:
    """Scores of `answers` float64 [N, K] and how they differ from the reference."""
    labels, reference = exam.labels, exam.reference
    right = scores.correct(answers, labels)
    theirs = scores.correct(reference, labels)
    flips = int((scores.predictions(answers) != scores.predictions(reference)).sum())
    return {
        "images": len(labels),
        "split": exam.split,
        "split_images": exam.split_images or len(labels),
        "sampled": exam.sampled,
        **_quality(answers, labels, floor),
        "accuracy_drop": int(theirs.sum() - right.sum()) / len(labels),
        "accuracy_drop_interval": significance.paired_difference(theirs, right),
        "agreement": 1 - flips / len(labels),
        "agreement_interval": scores.interval(len(labels) - flips, len(labels)),
        "flips": flips,
        "ties": scores.ties(answers),
        "largest_difference": float(np.abs(answers - reference).max()),
        "mcnemar": significance.mcnemar(theirs, right),
        "worst_class_drop": _worst_class(exam, answers),
        "checkpoint": _quality(reference, labels, scores.SMALLEST),
    }


def _quality(answers: np.ndarray, labels: np.ndarray, floor: float) -> dict[str, Any]:
    right = int(scores.correct(answers, labels).sum())
    return {
        "correct": right,
        "accuracy": right / len(labels),
        "accuracy_interval": scores.interval(right, len(labels)),
        "nll": scores.nll(answers, labels, floor),
        "ece": scores.ece(scores.reliability(answers, labels)),
    }


def _worst_class(exam: Exam, answers: np.ndarray) -> dict[str, Any]:
    """The class whose recall falls most, and by how much."""
    before, after = (
        np.diag(scores.confusion(p, exam.labels)) for p in (exam.reference, answers)
    )
    support = np.bincount(exam.labels, minlength=len(exam.names))
    drops = (before - after) / np.maximum(support, 1)
    worst = int(drops.argmax())
    return {"class": exam.names[worst], "drop": float(drops[worst])}
