"""A run's checkpoint as a model: float32 on one device, whatever trained it."""

from collections.abc import Mapping

import numpy as np

from eval.predictors import engine
from trainer.config.schema import Config
from trainer.errors import InvalidInput
from trainer.models import evaluator
from trainer.monitoring.progress import OnBatch


class CheckpointModel:
    """Logits of the weights that are evaluated and shipped.

    Attributes:
        shape: (H, W, C) of an image.
        classes: how many.
        network: the Keras model, uint8 pixels to logits.
        step: 0, its outputs are floats.
        engine: what computes them.
    """

    step = 0.0

    def __init__(
        self,
        config: Config,
        weights: Mapping[str, np.ndarray],
        shape: tuple[int, int, int],
        classes: int,
    ) -> None:
        """Builds the network for images of `shape`; `weights` are by path.

        Raises:
            InvalidInput: they are not of this network for such images and classes.
        """
        self.shape, self.classes = shape, classes
        self.engine = engine.describe_tensorflow()
        self._evaluator = evaluator.Evaluator(
            config.model, image_shape=shape, num_classes=classes
        )
        self.network = self._evaluator.model
        try:
            self._evaluator.load(weights)
        except ValueError as error:
            line = " ".join(str(error).split())[:200]
            raise InvalidInput(
                f"the checkpoint does not fit images of {shape} in {classes} classes;"
                f" `dataset` must name one like the run's: {line}"
            ) from error

    def __call__(self, images: np.ndarray, tick: OnBatch) -> np.ndarray:
        """Logits of `images` uint8 [N, H, W, C]: float32 [N, classes]."""
        return self._evaluator.logits(images, tick)
