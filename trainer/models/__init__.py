"""Networks by name; `build` makes one that takes raw pixels and gives logits.

Synopsis::

    model = models.build(config.model, image_shape=(32, 32, 3), num_classes=10)
    logits = model(images)  # uint8 [N, H, W, C] -> float32 [N, K]

Importing this package imports no TensorFlow, so that flags know the names at once.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    import keras
    import numpy as np

    from trainer.config import ModelConfig

# name -> module:function; the function maps a float tensor [N, H, W, C], its
# ModelConfig and the number of classes to logits [N, K].
MODELS = {
    "cnn": "trainer.models.cnn:cnn",
    "resnet8": "trainer.models.resnet:resnet8",
    "resnet20": "trainer.models.resnet:resnet20",
    "speednet": "trainer.models.speednet:speednet",
}
ANY_SIZE = ("speednet",)  # whose body takes images of any height and width


def build(
    config: "ModelConfig",
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    precision: str = "float32",
) -> "keras.Model":
    """A Keras model: uint8 [N, H, W, C] -> normalise -> `body` -> logits [N, K].

    Its layer "body" is what follows the normalisation. Logits are float32 (float64 when
    that is the precision, a Keras dtype policy name).
    """
    import keras

    from trainer.models import layers

    module, function = MODELS[config.name].split(":")
    network = getattr(importlib.import_module(module), function)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        normalised = keras.Input(image_shape, name="normalised")
        logits = network(normalised, config, num_classes)
        body = keras.Model(
            normalised, layers.Logits(name="logits")(logits), name="body"
        )
        if config.name in ANY_SIZE:
            body.input_spec = None  # else Keras refuses images of another size
        pixels = keras.Input(image_shape, dtype="uint8", name="images")
        outputs = body(layers.Normalise(name="normalise")(pixels))
        return keras.Model(pixels, outputs, name=config.name)
    finally:
        keras.config.set_dtype_policy(before)


def adapt(model: "keras.Model", images: "np.ndarray") -> None:
    """Shows uint8 [N, H, W, C] to the layers whose weights are computed from images."""
    layers = [x for x in model.get_layer("body").layers if hasattr(x, "adapt")]
    if layers:
        seen = model.get_layer("normalise")(images).numpy()
        for layer in layers:
            layer.adapt(seen)
