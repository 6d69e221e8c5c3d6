"""The table of errors finds the layer that loses most."""

import keras
import numpy as np

from export.artifact.number_formats import Io, Scheme
from export.artifact.serving_module import ServingModule
from export.lite import converter, layer_errors
from export.lite.calibration_images import CalibrationImages
from trainer.models.layers import Normalise


def network() -> ServingModule:
    """Three convolutions; one channel of the second dwarfs the seven others."""
    x = images = keras.Input((8, 8, 3), name="normalised")
    for name in "abc":
        x = keras.layers.Conv2D(8, 3, activation="relu", name=f"layer_{name}")(x)
    body = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="body")
    kernel, bias = body.get_layer("layer_b").get_weights()
    bias[3] = 200.0
    body.get_layer("layer_b").set_weights([kernel, bias])
    kernel, bias = body.get_layer("layer_c").get_weights()
    kernel[:, :, 3] = 0  # so that the float network is not ruled by that channel
    body.get_layer("layer_c").set_weights([kernel, bias])
    pixels = keras.Input((8, 8, 3), dtype="uint8")
    return ServingModule(
        keras.Model(pixels, body(Normalise(name="normalise")(pixels))), 1.0
    )


def test_the_layer_with_a_dominant_channel_is_named():
    keras.utils.set_random_seed(1)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype(np.uint8)
    pixels[0].flat[:2] = (0, 255)
    images, net = CalibrationImages(pixels, "", ""), network()
    for io in (Io.UINT8, Io.FLOAT32):
        content = converter.convert(net, Scheme.INT8, io, images)
        rows = layer_errors.measure(net, content, images)
        assert [row.layer for row in rows[:3]] == ["layer_a", "layer_b", "layer_c"]
        # What is lost in layer_b is seen where its other channels are used.
        assert layer_errors.describe_worst(rows).startswith("layer_c")
        assert rows[0].error < 0.02 < 0.1 < rows[2].added
