"""Predictor: uint8 images to probabilities, for a checkpoint, SavedModel or .tflite."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from eval import progress_bar
from eval.predictors import outputs
from eval.predictors.outputs import Output
from trainer.config.enums import EvalTta
from trainer.errors import UsageError
from trainer.models import evaluator
from trainer.monitoring.progress import OnBatch


class Model(Protocol):
    """What gives raw answers; `shape` and `classes` hold None where anything goes."""

    shape: tuple[int | None, ...]
    classes: int | None
    step: float
    engine: Mapping[str, Any]

    def __call__(self, images: np.ndarray, tick: OnBatch) -> np.ndarray:
        """Answers for `images` uint8 [N, H, W, C]: [N, classes]."""
        ...


class Predictor:
    """A model and what its answers mean.

    Attributes:
        name: how it is called in a report.
        model: what gives the answers.
        output: what its answers are; AUTO until the first call has seen them.
        given: whether the caller's word or the file, not the rule of looking at every
            answer, decided that.
        tta: the views of an image that its answers are the mean over.
        places: of the data set's classes among the model's; None where they are the
            same.
        notes: lines that a reader of the answers must know.
    """

    def __init__(
        self,
        name: str,
        model: Model,
        output: Output = Output.AUTO,
        tta: EvalTta = EvalTta.NONE,
        places: np.ndarray | None = None,
    ) -> None:
        self.name = name
        self.output = output
        self.tta = tta
        self.places = places
        self.given = output is not Output.AUTO
        self.model = model
        self.notes = [*getattr(model, "notes", ())]  # a file has some

    @property
    def floor(self) -> float:
        """The probability below which one reads as 0."""
        return outputs.min_probability(self.output, self.model.step)

    def averaging(self, tta: EvalTta) -> "Predictor":
        """The same model; its answers are means over the views of `tta`."""
        return self._but(tta=tta)

    def ordered(self, places: np.ndarray | None) -> "Predictor":
        """The same model; its answers are in the order of the data set's classes."""
        return self._but(places=places)

    def readings(self) -> dict[str, "Predictor"]:
        """The same file with its input read otherwise, by flag; {} of a checkpoint."""
        other = getattr(self.model, "readings", dict)()
        return {flag: self._but(model=model) for flag, model in other.items()}

    def _but(self, **changed: Any) -> "Predictor":
        other = copy.copy(self)
        vars(other).update(changed, notes=[*self.notes])
        return other

    def check(self, shape: tuple[int, ...], classes: int) -> None:
        """Raises UsageError unless it classifies images of `shape` into `classes`."""
        own = self.model.shape
        if self.model.classes is not None and self.model.classes < 2:
            raise UsageError(
                f"{self.name} answers {self.model.classes} number for an image; a"
                " classifier answers one for each class"
            )
        fits = all(a in (None, b) for a, b in zip(own, shape, strict=True))
        if not fits or self.model.classes not in (None, classes):
            raise UsageError(
                f"{self.name} takes images {_product(own)} and knows"
                f" {self.model.classes} classes; the data set has {_product(shape)}"
                f" and {classes} (--dataset names another)"
            )

    def __call__(
        self, images: np.ndarray, tick: OnBatch = progress_bar.no_progress
    ) -> np.ndarray:
        """Probabilities for `images` uint8 [N, H, W, C]: float64 [N, classes].

        `tick` hears of each image once for each view. Views are averaged as logits, or
        as log-probabilities where the model gives no logits; a softmax of either is
        the same, as they differ by a number per image and view.

        Raises:
            ValueError: an answer is not finite or not what it should be.
        """
        if self.tta is EvalTta.NONE:
            return self._probabilities(self._raw(images, tick))

        def logits(view: np.ndarray) -> np.ndarray:
            raw = self._raw(view, tick)
            if self.output is Output.LOGITS:
                return raw
            return np.log(np.maximum(self._probabilities(raw), self.floor))

        averaged = evaluator.mean_over_views(logits, images, self.tta)
        return outputs.to_probabilities(averaged, Output.LOGITS, step=0)

    def counted(self, what: str) -> Callable[[np.ndarray], np.ndarray]:
        """The same answers; on the way progress tells how many, of `what`."""

        def answer(images: np.ndarray) -> np.ndarray:
            views = evaluator.count_views(self.tta)
            with progress_bar.progress_bar(len(images) * views, what) as tick:
                return self(images, tick)

        return answer

    def _raw(self, images: np.ndarray, tick: OnBatch) -> np.ndarray:
        raw = self.model(images, tick)
        if self.output is Output.AUTO:
            self.output = outputs.infer_output(raw, self.model.step)
        if self.places is None:
            return raw
        if raw.shape[1] != len(self.places):
            raise ValueError(
                f"it answers {raw.shape[1]} classes where {len(self.places)} are named"
            )
        return raw[:, self.places]

    def _probabilities(self, raw: np.ndarray) -> np.ndarray:
        return outputs.to_probabilities(raw, self.output, self.model.step)


def _product(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if side is None else str(side) for side in shape)
