"""Model of a run's checkpoint: float32 on one device, whatever trained it."""

from collections.abc import Mapping

import numpy as np

from eval.predictors import engine
from trainer.config.schema import Config
from trainer.errors import InvalidInput
from trainer.models import evaluator
from trainer.models.evaluator import Images
from trainer.monitoring.progress import OnBatch


class CheckpointModel:
    """Computes logits with the weights that are evaluated and shipped.

    Attributes:
        shape: (H, W, C) of an image.
        classes: number of classes.
        network: the Keras model, uint8 pixels to logits.
        step: 0, as the outputs are floats.
        engine: description of the runtime.
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
            InvalidInput: the weights do not fit this network with such images and
                classes.
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

    def __call__(self, images: Images, tick: OnBatch) -> np.ndarray:
        """Computes the logits of `images` uint8 [N, H, W, C]: float32 [N, classes]."""
        return self._evaluator.logits(images, tick)
