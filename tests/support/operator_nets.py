"""int8 files of the toolkit's networks, untrained but with no channel like another."""

import functools

import keras
import numpy as np

from export.artifact.number_formats import Io, Scheme
from export.artifact.serving_module import ServingModule
from export.lite import converter
from export.lite.calibration_images import CalibrationImages
from tests.support.operator_files import random_images
from trainer.config import schema
from trainer.models import builder

_RANGES = {"moving_mean": (-0.3, 0.3), "moving_variance": (0.3, 2)}
_RANGES |= {"gamma": (0.5, 1.5), "beta": (-0.3, 0.3), "bias": (-0.3, 0.3)}


@functools.cache
def quantized(name: str, io: Io, side: int = 32, channels: int = 3) -> bytes:
    """The int8 file of the network `name` for 10 classes."""
    keras.utils.set_random_seed(1)
    shape = (side, side, channels)
    network = builder.build_model(
        schema.ModelConfig(name=name), image_shape=shape, num_classes=10
    )
    rng = np.random.default_rng(0)
    for weight in network.weights:
        for word, limits in _RANGES.items():
            if word in weight.path:
                weight.assign(rng.uniform(*limits, weight.shape))
    images = CalibrationImages(random_images(20, shape), "", "")
    return converter.convert(ServingModule(network, 1.0), Scheme.INT8, io, images)
