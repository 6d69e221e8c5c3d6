"""Predictor: computes probabilities of uint8 images with any kind of model."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from eval.predictors import outputs
from eval.predictors.outputs import Output
from trainer.config.enums import EvalTta
from trainer.errors import InvalidInput
from trainer.models import evaluator
from trainer.models.evaluator import Images
from trainer.monitoring.progress import CONSOLE, OnBatch


def ignore_progress(count: int) -> None:
    """Ignores the number of images just done."""


class Model(Protocol):
    """A model with raw outputs; `shape` and `classes` are None where not fixed."""

    shape: tuple[int | None, ...]
    classes: int | None
    step: float
    engine: Mapping[str, Any]

    def __call__(self, images: Images, tick: OnBatch) -> np.ndarray:
        """Computes the outputs of `images` uint8 [N, H, W, C]: [N, classes]."""
        ...


class Predictor:
    """A model and the meaning of its outputs.

    Attributes:
        name: its name in a report.
        model: computes the outputs.
        output: meaning of its outputs; AUTO until the first call.
        given: whether the caller or the file determined `output`, and not the values of
            the outputs.
        tta: the views of an image that predictions are averaged over.
        class_order: the model's class for each class of the data set, int [N]; None if
            they are the same.
        notes: messages that a reader of the predictions needs.
    """

    def __init__(
        self,
        name: str,
        model: Model,
        output: Output = Output.AUTO,
        tta: EvalTta = EvalTta.NONE,
        class_order: np.ndarray | None = None,
    ) -> None:
        self.name = name
        self.output = output
        self.tta = tta
        self.class_order = class_order
        self.given = output is not Output.AUTO
        self.model = model
        self.notes = [*getattr(model, "notes", ())]  # only model files have notes

    @property
    def min_probability(self) -> float:
        """Least probability that is not stored as 0."""
        return outputs.min_probability(self.output, self.model.step)

    def with_tta(self, tta: EvalTta) -> "Predictor":
        """Copies the predictor; predictions are means over the views of `tta`."""
        return self._replaced(tta=tta)

    def with_class_order(self, class_order: np.ndarray | None) -> "Predictor":
        """Copies the predictor; predictions are in the data set's order of classes."""
        return self._replaced(class_order=class_order)

    def alternative_readings(self) -> dict[str, "Predictor"]:
        """Copies the predictor with other conversions of the input, by option."""
        other = getattr(self.model, "alternative_readings", dict)()
        return {flag: self._replaced(model=model) for flag, model in other.items()}

    def _replaced(self, **changed: object) -> "Predictor":
        other = copy.copy(self)
        vars(other).update(changed, notes=[*self.notes])
        return other

    def check_fits(self, shape: tuple[int, ...], classes: int) -> None:
        """Checks that the model classifies images of `shape` into `classes`.

        Raises:
            InvalidInput: it takes other images, or knows another number of classes."""
        own = self.model.shape
        if self.model.classes is not None and self.model.classes < 2:
            raise InvalidInput(
                f"{self.name} gives {self.model.classes} number for an image; a"
                " classifier gives one for each class"
            )
        fits = all(a in (None, b) for a, b in zip(own, shape, strict=True))
        if not fits or self.model.classes not in (None, classes):
            raise InvalidInput(
                f"{self.name} takes images {_format_shape(own)} and knows"
                f" {self.model.classes} classes; the data set has images"
                f" {_format_shape(shape)} and {classes} (`dataset` names another)"
            )

    def __call__(self, images: Images, tick: OnBatch = ignore_progress) -> np.ndarray:
        """Computes probabilities of `images` uint8 [N, H, W, C]: float64 [N, classes].

        `tick` counts each image once for each view. Views are averaged as logits, or as
        log-probabilities if the model gives no logits; the softmax of both is the same,
        as they differ by a constant per image and view.

        Raises:
            ValueError: an output is not finite or not a probability.
        """
        if self.tta is EvalTta.NONE:
            return self._probabilities(self._raw(images, tick))

        def logits(view: Images) -> np.ndarray:
            raw = self._raw(view, tick)
            if self.output is Output.LOGITS:
                return raw
            return np.log(np.maximum(self._probabilities(raw), self.min_probability))

        averaged = evaluator.mean_over_views(logits, images, self.tta)
        return outputs.to_probabilities(averaged, Output.LOGITS, step=0)

    def with_progress(self, what: str) -> Callable[[Images], np.ndarray]:
        """Returns a function that predicts with a progress line called `what`."""

        def predict(images: Images) -> np.ndarray:
            views = evaluator.count_views(self.tta)
            with CONSOLE.count(len(images) * views, what) as tick:
                return self(images, tick)

        return predict

    def _raw(self, images: Images, tick: OnBatch) -> np.ndarray:
        raw = self.model(images, tick)
        if self.output is Output.AUTO:
            self.output = outputs.infer_output(raw, self.model.step)
        if self.class_order is None:
            return raw
        if raw.shape[1] != len(self.class_order):
            raise ValueError(
                f"it gives {raw.shape[1]} classes, but {len(self.class_order)} are"
                " named"
            )
        return raw[:, self.class_order]

    def _probabilities(self, raw: np.ndarray) -> np.ndarray:
        return outputs.to_probabilities(raw, self.output, self.model.step)


def _format_shape(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if side is None else str(side) for side in shape)
