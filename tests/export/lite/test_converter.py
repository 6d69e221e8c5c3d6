"""Converted networks: bytes, operators and per-channel scales of the references."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from eval.formats.flatbuffer import FlatbufferInfo
from export.artifact.number_formats import Io, Scheme
from export.artifact.serving_module import ServingModule
from export.lite import converter
from export.lite.calibration_images import CalibrationImages
from trainer.config.schema import ModelConfig
from trainer.errors import InvalidConfig
from trainer.models import architecture, builder

# vww_model_data.cc of mlcommons/tiny, commit 5b2315b, holds this file.
REFERENCE_BYTES = 333_288
REFERENCE_OPERATORS = {
    "CONV_2D": 14,
    "DEPTHWISE_CONV_2D": 13,
    "AVERAGE_POOL_2D": 1,
    "RESHAPE": 1,
    "FULLY_CONNECTED": 1,
    "SOFTMAX": 1,
}


def some_images(shape, count=4) -> CalibrationImages:
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    images[0].flat[:2] = (0, 255)
    return CalibrationImages(images, "", "")


def test_mobilenet_is_no_larger_than_the_reference_and_has_its_operators():
    shape = (96, 96, 3)
    model = builder.build_model(
        ModelConfig(name="mobilenet"), image_shape=shape, num_classes=2
    )
    network = ServingModule(model, 1.0)
    content = converter.convert(network, Scheme.INT8, Io.INT8, some_images(shape))
    assert len(content) <= REFERENCE_BYTES
    graph = FlatbufferInfo(content)
    # FULLY_CONNECTED flattens its input, so this converter needs no RESHAPE before it.
    assert {**graph.operators(), "RESHAPE": 1} == REFERENCE_OPERATORS
    assert graph.multiply_accumulates() == 7_489_664
    found = [
        tensor["quantization_parameters"]
        for tensor in Interpreter(model_content=content).get_tensor_details()
    ]
    # Kernels [1, 3, 3, C] have a scale for each channel, in dimension 3.
    scales = [len(x["scales"]) for x in found if x["quantized_dimension"] == 3]
    assert sorted(scales) == sorted(
        layer.output.shape[-1]
        for layer in model.get_layer("body").layers
        if layer.name.endswith("_depthwise_conv")
    )


def looping(x, num_classes):
    x = keras.layers.Reshape((x.shape[1], -1))(x)
    return keras.layers.Dense(num_classes)(keras.layers.LSTM(4)(x))


@pytest.mark.parametrize("scheme", [Scheme.INT8, Scheme.INT16X8])
def test_a_network_with_a_loop_is_refused_where_the_converter_would_die(scheme):
    shape = (8, 8, 1)
    described = architecture.describe(
        looping, {}, image_shape=shape, num_classes=3, precision="float32"
    )
    config = ModelConfig(name="looping", architecture=described)
    model = builder.build_model(config, image_shape=shape, num_classes=3)
    network, images = ServingModule(model, 1.0), some_images(shape)
    with pytest.raises(InvalidConfig, match="with a loop"):
        converter.convert(network, scheme, Io.FLOAT32, images)
    assert converter.convert(network, Scheme.DYNAMIC, Io.UINT8, None)
