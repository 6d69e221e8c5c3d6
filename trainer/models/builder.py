"""Builds the Keras model around a network: raw pixels in, logits out.

Synopsis::

    model = builder.build_model(config.model, image_shape=(32, 32, 3), num_classes=10)
    logits = model(images)  # uint8 [N, H, W, C] -> float32 [N, K]
"""

import re
from collections.abc import Sequence

import keras
import numpy as np

from trainer.config.schema import ModelConfig
from trainer.models import architecture, layers, registry
from trainer.models.quantization import rewriting


def build_model(
    config: ModelConfig,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    precision: str = "float32",
) -> keras.Model:
    """Builds a model: uint8 [N, H, W, C] -> normalise -> `body` -> logits [N, K].

    The layer "body" is the network after the normalisation. `precision` is a Keras
    dtype policy. Logits are float32; with precision float64 they are float64. With
    `qat` the body rounds kernels and activations, see `trainer.models.quantization`.

    Raises:
        InvalidConfig: the network does not have the options of `config`.
        InvalidInput: `qat` has no rule for a layer.
        ValueError: the network does not accept images of this shape.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        if config.architecture is None:
            body = _build_body(config, image_shape, num_classes)
        else:
            body = architecture.rebuild(config.architecture, precision)
        if config.qat:
            body = rewriting.quantize(body)
        pixels = keras.Input(image_shape, dtype="uint8", name="images")
        outputs = body(layers.Normalise(name="normalise")(pixels))
        return keras.Model(pixels, outputs, name=_scope(config.name))
    finally:
        keras.config.set_dtype_policy(before)


def _scope(name: str) -> str:
    """`name` without the characters that TensorFlow refuses in its graphs."""
    allowed = re.sub(r"[^A-Za-z0-9_.-]", "-", name).lstrip("-_")
    return allowed or "network"


def _build_body(
    config: ModelConfig, image_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    network = registry.load(config)
    normalised = keras.Input(image_shape, name="normalised")
    logits = network(normalised, num_classes)
    body = keras.Model(normalised, layers.Logits(name="logits")(logits), name="body")
    if config.name in registry.ANY_SIZE:
        body.input_spec = None  # otherwise Keras refuses images of another size
    return body


def adapt(model: keras.Model, images: Sequence[np.ndarray]) -> None:
    """Computes the weights of layers with `adapt` from images uint8 [N, H, W, C].

    The images are copied only where there is such a layer.
    """
    adapted = [x for x in model.get_layer("body").layers if hasattr(x, "adapt")]
    if adapted:
        seen = model.get_layer("normalise")(images[:]).numpy()
        for layer in adapted:
            layer.adapt(seen)
