"""Evaluator: computes the logits of a whole split in float32 on one device."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from trainer import errors
from trainer.config.enums import EvalTta
from trainer.config.schema import ModelConfig
from trainer.models import builder
from trainer.models.analysis.multiply_adds import output_elements
from trainer.models.intervals import wilson_interval

BATCH = 500  # the largest batch; networks of usual width on 32x32 pixels use it
MEMORY = 2**30  # limit of the activations of a batch in memory, in bytes
LIVE_LAYERS = 3  # outputs in memory at once: a layer's input, output and a shortcut


@dataclasses.dataclass(frozen=True)
class EvalMetrics:
    """Metrics of some weights on all examples of a split.

    Attributes:
        loss: mean cross-entropy in nats.
        correct, total: number of correct predictions and of examples; ties go to the
            lower class.
        confusion: int [K, K], true class by predicted class.
    """

    loss: float
    correct: int
    total: int
    confusion: np.ndarray

    @property
    def accuracy(self) -> float:
        """Fraction of correct predictions."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(self.correct, self.total)


def live_bytes(body: keras.Model) -> int:
    """Estimates the bytes of activations that one image needs at once, in float32."""
    sizes = [4 * _output_elements(layer) for layer in body.layers]
    last = max(1, len(sizes) - LIVE_LAYERS + 1)
    return max(sum(sizes[first : first + LIVE_LAYERS]) for first in range(last))


def _output_elements(layer: keras.Layer) -> int:
    return max(map(output_elements, layer._inbound_nodes))  # of its largest call


def batch_size(body: keras.Model) -> int:
    """Chooses the evaluation batch; it depends on the network and the image size only.

    A kernel may sum in another order in a batch of another size, so neither free memory
    nor the number of images has an influence; the last batch is padded.
    """
    return max(1, min(BATCH, MEMORY // live_bytes(body)))


class Images(Protocol):
    """Images uint8 [N, H, W, C], an array or what copies slices of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N, H, W, C."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> np.ndarray: ...


class Evaluator:
    """Runs one network in float32 on one device, whatever trained its weights.

    Only a teacher may run in another `precision`; an evaluation never does.

    Attributes:
        batch: number of images in a batch.
        tta: the views of an image that its logits are averaged over.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        image_shape: tuple[int, int, int],
        num_classes: int,
        device: str | None = None,
        tta: EvalTta = EvalTta.NONE,
        precision: str = "float32",
    ) -> None:
        self._device, self.tta = device, tta
        with tf.device(device):
            self.model = builder.build_model(
                config,
                image_shape=image_shape,
                num_classes=num_classes,
                precision=precision,
            )
            self.batch = batch_size(self.model.get_layer("body"))
            self._call = tf.function(
                lambda images: self.model(images, training=False),
                input_signature=[tf.TensorSpec([self.batch, *image_shape], tf.uint8)],
                autograph=False,
            )

    @property
    def graph(self) -> tf.Graph:
        """The graph of the network, from pixels to logits, for TensorBoard."""
        return self._call.get_concrete_function().graph

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Loads weights by path, of any float dtype.

        Raises:
            ValueError: they belong to another model.
        """
        own = {v.path: v for v in self.model.variables}
        if odd := own.keys() ^ weights.keys():
            raise ValueError(f"weights of another model: {sorted(odd)[0]} differs")
        for path, variable in own.items():
            variable.assign(weights[path].astype(np.float32))

    def logits(
        self, images: Images, tick: Callable[[int], object] = lambda _: None
    ) -> np.ndarray:
        """Computes float32 [N, K] of uint8 [N, H, W, C], a batch in memory at a time.

        `tick` is called with the size of each batch when it is done.
        """

        def answer(view: Images) -> np.ndarray:
            found = self._batch(view[:])
            tick(len(view))
            return found

        parts = []
        for first in range(0, len(images), self.batch):
            part = images[first : first + self.batch]
            parts.append(mean_over_views(answer, part, self.tta))
        return np.concatenate(parts)

    def _batch(self, images: np.ndarray) -> np.ndarray:
        full = np.zeros((self.batch, *images.shape[1:]), np.uint8)
        full[: len(images)] = images
        with tf.device(self._device):
            return self._compiled(tf.constant(full)).numpy()[: len(images)]

    @functools.cached_property
    def _compiled(self) -> ConcreteFunction:
        """Traced by the first call: TensorFlow would warn of five evaluators' calls."""
        return self._call.get_concrete_function()


def compute_metrics(logits: np.ndarray, labels: np.ndarray) -> EvalMetrics:
    """Computes metrics of logits [N, K] and labels [N] in float64.

    Raises:
        NotFinite: a logit is not finite; the message names its row.
    """
    wide = logits.astype(np.float64)
    if not np.isfinite(wide).all():
        row = int(np.argwhere(~np.isfinite(wide).all(axis=1))[0, 0])
        raise errors.NotFinite(f"the logits of example {row} are not finite")
    wide -= wide.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(wide).sum(axis=1))
    loss = float(np.mean(log_sum - wide[np.arange(len(labels)), labels]))
    answers = logits.argmax(axis=1)  # ties go to the lower class
    confusion = np.zeros((logits.shape[1],) * 2, np.int64)
    np.add.at(confusion, (labels, answers), 1)
    return EvalMetrics(loss, int((answers == labels).sum()), len(labels), confusion)


def count_parameters(model: keras.Model) -> int:
    """Counts the numbers in the model's variables."""
    return int(model.count_params())


# Shift in pixels, down and to the right, and the total weight of the views with it.
_SHARES = {
    EvalTta.NONE: {0: 1.0},
    EvalTta.FLIP: {0: 1.0},
    EvalTta.FLIP_SHIFT: {0: 0.5, -1: 0.25, 1: 0.25},
    EvalTta.SHIFT: {0: 0.5, -1: 0.25, 1: 0.25},
}


def count_views(tta: EvalTta) -> int:
    """Counts the views of an image."""
    return len(_SHARES[tta]) * (2 if tta.mirrors else 1)


@dataclasses.dataclass(frozen=True)
class ImageView:
    """A view of images, which is computed for the slices that are asked for.

    Attributes:
        images: uint8 [N, H, W, C].
        pixels: shift down and to the right.
        mirror: whether they are mirrored after that.
    """

    images: Images
    pixels: int
    mirror: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """N, H, W, C."""
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> np.ndarray:
        found = self.images[part]
        if self.pixels:
            found = _moved(found, self.pixels)
        return np.ascontiguousarray(found[:, :, ::-1]) if self.mirror else found


def views(images: Images, tta: EvalTta) -> Iterator[tuple[float, Images]]:
    """Yields the weight and pixels of each view of `images` [N, H, W, C].

    The first view is the images themselves; the weights add up to 1. Of images that are
    not an array in memory it is an ImageView, so that no view of all is in memory.
    """
    in_memory = isinstance(images, np.ndarray) and not isinstance(images, np.memmap)
    sides = (False, True) if tta.mirrors else (False,)
    for pixels, share in _SHARES[tta].items():
        for mirror in sides:
            view = ImageView(images, pixels, mirror)
            yield share / len(sides), view[:] if in_memory else view


def _moved(images: np.ndarray, pixels: int) -> np.ndarray:
    """Shifts `images` one pixel down and right (1) or up and left (-1), reflected."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    start = 1 - pixels
    return padded[:, start : start + height, start : start + width]


def mean_over_views(
    answer: Callable[[Images], np.ndarray], images: Images, tta: EvalTta
) -> np.ndarray:
    """Computes the weighted mean of `answer` over all views: [N, K], same dtype.

    The sum is float64 and the weights are powers of two, so float32 values that are
    equal for all views are returned unchanged.
    """
    if tta is EvalTta.NONE:
        return answer(images)
    total: np.ndarray | float = 0.0
    for weight, view in views(images, tta):
        answers = answer(view)
        total = total + weight * answers.astype(np.float64)
    return total.astype(answers.dtype)
