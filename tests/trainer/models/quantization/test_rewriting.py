"""A rewritten network answers as the float one, and its int8 file as the rewritten."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert

from eval.formats.flatbuffer import FlatbufferInfo
from export.artifact.number_formats import Io, Scheme
from export.artifact.serving_module import ServingModule
from export.lite import converter
from tests.support.compiled_steps import BLOCK, PLAIN, small_networks
from trainer.config.schema import ModelConfig
from trainer.errors import InvalidInput
from trainer.models import architecture, builder, layers
from trainer.models.quantization import graph, rewriting
from trainer.models.quantization.fake_quant import FakeQuant, observe_range

SHAPE = (16, 16, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (64, *SHAPE)).astype(np.uint8)
IMAGES = (PIXELS.astype(np.float32) - 128) / 128
SPEEDNET = ModelConfig(name="speednet", kwargs={"width": 0.25})
RESNET20 = ModelConfig(name="resnet20", kwargs={"width": 0.25})


def draw_statistics(body: keras.Model) -> None:
    """Gives batch normalisation statistics as if it had been trained."""
    draw = np.random.default_rng(0)
    for layer in body.layers:
        if isinstance(layer, layers.BatchNorm):
            size = layer.moving_mean.shape
            layer.moving_mean.assign(draw.normal(size=size) / 10)
            layer.moving_variance.assign(draw.uniform(0.5, 2, size))
            layer.beta.assign(draw.normal(size=size) / 10)


def quantised(config: ModelConfig) -> tuple[keras.Model, keras.Model]:
    """A float network, and the same one rewritten, folded and calibrated."""
    keras.utils.set_random_seed(3)
    whole = [
        builder.build_model(each, image_shape=SHAPE, num_classes=10)
        for each in (
            config,
            dataclasses.replace(config, qat=True),
        )
    ]
    body, rounded = (model.get_layer("body") for model in whole)
    draw_statistics(body)
    rewriting.fold_weights(body, rounded)
    rewriting.calibrate(rounded, IMAGES)
    return body, whole[1]


@pytest.mark.parametrize(
    "config",
    [PLAIN, BLOCK, SPEEDNET, pytest.param(RESNET20, marks=pytest.mark.slow)],
    ids=lambda config: config.name,
)
def test_the_int8_file_answers_as_the_rewritten_network(config):
    with small_networks():
        body, model = quantised(config)
    logits, exact = model(PIXELS).numpy(), body(IMAGES).numpy()
    kinds = {type(layer) for layer in model.get_layer("body").layers}
    assert not kinds & {layers.BatchNorm, keras.layers.Conv2D, keras.layers.Dense}
    error = np.sqrt(np.mean((logits - exact) ** 2) / np.mean(exact**2))
    assert 1e-4 < error < 0.1
    temperature = 1.7
    network = ServingModule(model, temperature)
    content = converter.convert(network, Scheme.INT8, Io.UINT8, None)
    file = FlatbufferInfo(content)
    assert set(file.quantised_kernels()) == {"per_channel"}
    assert not {"MUL", "DIV", "DEQUANTIZE"} & set(file.operators())
    expected = tf.nn.softmax(logits / temperature).numpy()
    found = np.stack([answer(content, image) for image in PIXELS])
    same = found.argmax(1) == expected.argmax(1)
    sure = np.diff(np.sort(expected)[:, -2:])[:, 0] > 0.03
    assert same[sure].all() and same.mean() > 0.95
    assert np.abs(found - expected).mean() < 0.01


def answer(content: bytes, image: np.ndarray) -> np.ndarray:
    model = litert.Interpreter(model_content=content)
    model.allocate_tensors()
    model.set_tensor(model.get_input_details()[0]["index"], image[None])
    model.invoke()
    return model.get_tensor(model.get_output_details()[0]["index"])[0] / 256


def test_every_tensor_of_the_file_has_the_range_that_was_trained():
    with small_networks():
        _, model = quantised(BLOCK)
    content = converter.convert(ServingModule(model, 1.0), Scheme.INT8, Io.INT8, None)
    reader = litert.Interpreter(model_content=content)
    found = [each["quantization"][0] for each in reader.get_tensor_details()]
    for layer in rewriting.ranges(model.get_layer("body")):
        if layer.moving:
            low, high = (float(variable.numpy()) for variable in layer.moving)
            assert min(abs(s / ((high - low) / 255) - 1) for s in found if s) < 1e-3


def test_folding_a_norm_is_exact():
    images = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(6, 3, name="conv")(images)
    x = layers.BatchNorm(name="conv_norm")(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.BatchNorm(name="depthwise_norm")(x)
    x = keras.layers.Activation("silu", name="silu")(x)
    x = layers.BatchNorm(name="alone")(x)  # cannot be folded
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Scale(3.0, name="scale")(keras.layers.Dense(5, name="dense")(x))
    body = keras.Model(images, layers.Logits(name="logits")(x), name="body")
    draw_statistics(body)
    rounded = rewriting.quantize(body)
    rewriting.fold_weights(body, rounded)
    names = {layer.name for layer in rounded.layers}
    assert not names & {"conv_norm", "depthwise_norm", "scale"} and "alone" in names
    pixels = np.random.default_rng(0).normal(size=(8, 8, 8, 4)).astype(np.float32)
    for each in rewriting.ranges(rounded):
        each.start_calibration()  # activations are not rounded
    for layer in rounded.layers:
        if hasattr(layer, "rounded_kernel"):
            layer.rounded_kernel = lambda kernel=layer.kernel: kernel.value
    np.testing.assert_allclose(rounded(pixels), body(pixels), rtol=0, atol=2e-4)


def test_ranges_are_those_of_groups_of_eight_images():
    x = tf.constant(np.random.default_rng(0).normal(size=(16, 3, 3)), tf.float32)
    whole = np.array(observe_range(x))
    halves = np.mean([observe_range(x[:8]), observe_range(x[8:])], axis=0)
    np.testing.assert_allclose(whole, halves, rtol=1e-6)
    np.testing.assert_allclose(observe_range(x[:8])[1], x[:8].numpy().max())
    np.testing.assert_allclose(
        observe_range(x[:5])[1], x[:5].numpy().max((1, 2)).mean()
    )


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (keras.layers.LayerNormalization(name="odd"), "no rule for layer odd"),
        (layers.Scale(2.0, name="late"), "cannot fold layer late"),
        (keras.layers.Dense(4, "gelu", name="bent"), "activation=gelu of layer bent"),
    ],
)
def test_a_layer_without_a_rule_is_named(layer, said):
    images = keras.Input((8, 8, 4))
    x = keras.layers.Flatten(name="flat")(images)
    body = keras.Model(images, layer(x))
    with pytest.raises(InvalidInput, match=said):
        graph.plan(body)


def test_a_fixed_range_is_that_of_pixels():
    layer = FakeQuant(limits=(-1, 127 / 128))
    np.testing.assert_array_equal(layer(IMAGES[:2]), IMAGES[:2])
    assert not layer.moving


def test_a_keras_model_of_the_user_becomes_an_int8_file():
    described = architecture.describe(
        keras_model, {}, image_shape=SHAPE, num_classes=10, precision="float32"
    )
    body, model = quantised(ModelConfig(name="own", architecture=described))
    logits, exact = model(PIXELS).numpy(), body(IMAGES).numpy()
    assert np.sqrt(np.mean((logits - exact) ** 2) / np.mean(exact**2)) < 0.1
    content = converter.convert(ServingModule(model, 1.3), Scheme.INT8, Io.UINT8, None)
    expected = tf.nn.softmax(logits / 1.3).numpy()
    found = np.stack([answer(content, image) for image in PIXELS])
    assert np.abs(found - expected).mean() < 0.01


def keras_model(num_classes, image_shape):
    """Raw pixels in; what has rules of its own: scaling, SE, swish, concatenation."""
    x = images = keras.Input(image_shape)
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Activation("silu")(x)
    y = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = keras.layers.Conv2D(8, 1, activation="sigmoid")(y)
    x = keras.layers.Multiply()([x, y])
    x = keras.layers.ZeroPadding2D(1)(x)
    x = keras.layers.DepthwiseConv2D(3, activation="relu6")(x)
    x = keras.layers.BatchNormalization()(x)  # behind an activation: on its own
    z = keras.layers.AveragePooling2D(2)(x)
    x = keras.layers.Concatenate()([keras.layers.MaxPooling2D(2)(x), z])
    x = keras.layers.SpatialDropout2D(0.2)(x)
    x = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(x))
    return keras.Model(images, keras.layers.Dense(num_classes, "softmax")(x))
