"""Networks of keras.applications: preprocessing folded in, pooled, with our head."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support import keras_models
from trainer.config.schema import ModelConfig
from trainer.errors import InvalidInput
from trainer.models import architecture, layers, registry
from trainer.models.networks import applications

SHAPE = (32, 32, 3)
# A network of each module of keras.applications, the smallest.
EACH_MODULE = {
    "ConvNeXtTiny": SHAPE,
    "DenseNet121": SHAPE,
    "EfficientNetB0": SHAPE,
    "EfficientNetV2B0": SHAPE,
    "InceptionResNetV2": (75, 75, 3),
    "InceptionV3": (75, 75, 3),
    "MobileNet": SHAPE,
    "MobileNetV2": SHAPE,
    "MobileNetV3Small": SHAPE,
    "NASNetMobile": SHAPE,
    "ResNet50": SHAPE,
    "ResNet50V2": SHAPE,
    "VGG16": SHAPE,
    "VGG19": SHAPE,
    "Xception": (71, 71, 3),
}
OWN_SCALING = ("ConvNeXt", "EfficientNet", "MobileNetV3")


def network(name):
    return registry.import_network(ModelConfig(name=f"keras:{name}"))


def module(name):
    from keras.src import applications as modules

    function = getattr(keras.applications, name)
    return getattr(modules, function.__module__.rpartition(".")[2])


@pytest.mark.parametrize("name", EACH_MODULE)
def test_preprocessing_is_that_of_keras(name):
    pixels = keras.Input(SHAPE)
    application = getattr(keras.applications, name)
    found = applications._preprocess(application, pixels)
    assert (found is pixels) == name.startswith(OWN_SCALING)
    images = keras_models.images(side=32)
    expected = module(name).preprocess_input(images.astype(np.float64))
    np.testing.assert_allclose(
        keras.Model(pixels, found)(images), expected, rtol=1e-5, atol=1e-5
    )


def test_the_body_is_the_network_of_keras():
    """Equal weights give the logits of Keras' network on preprocessed pixels."""
    described = {"alpha": 0.35}
    body = keras_models.build(network("MobileNetV2"), kwargs=described, shape=SHAPE)
    theirs = keras.applications.MobileNetV2(
        alpha=0.35, include_top=False, weights=None, input_shape=SHAPE, pooling="avg"
    )
    *backbone, kernel, bias = body.weights
    for ours, other in zip(backbone, theirs.weights, strict=True):
        assert ours.path.split("/")[-2:] == other.path.split("/")[-2:]
        other.assign(ours + 0.01)  # so that moving statistics are not 0 and 1
        ours.assign(other)
    images = keras_models.images(side=32)
    seen = keras.applications.mobilenet_v2.preprocess_input(np.float32(images))
    expected = theirs(seen) @ tf.convert_to_tensor(kernel) + tf.convert_to_tensor(bias)
    logits = keras_models.predict(body, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


def scaled_pixels(name, shape=SHAPE):
    """What the body's first layer makes of images, and these images."""
    body = keras_models.build(network(name), shape=shape)
    assert not any(isinstance(x, keras.layers.Normalization) for x in body.layers)
    (first,) = (x for x in body.layers if isinstance(x, layers.Affine))
    images = keras_models.images(side=shape[0])
    return first((np.float32(images) - 128) / 128), images


def test_colours_are_reversed_for_networks_of_caffe():
    found, images = scaled_pixels("VGG16")
    expected = keras.applications.vgg16.preprocess_input(np.float32(images))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kept", [1, pytest.param(7, marks=pytest.mark.slow)])
def test_efficientnet_has_the_pixels_of_imagenet(monkeypatch, kept):
    """Its layer has no numbers until weights are loaded into it."""
    blocks = module("EfficientNetB0").DEFAULT_BLOCKS_ARGS[:kept]  # of seven, for time
    monkeypatch.setattr(module("EfficientNetB0"), "DEFAULT_BLOCKS_ARGS", blocks)
    found, images = scaled_pixels("EfficientNetB0")
    expected = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_network_that_scales_its_own_input():
    found, images = scaled_pixels("MobileNetV3Small")
    np.testing.assert_allclose(found, images / 127.5 - 1, atol=1e-5)


def test_the_head_has_dropout_and_batch_norm_may_be_synchronized():
    words = {"alpha": 0.35, "dropout": 0.3, "sync_batch_norm": True}
    body = keras_models.build(network("MobileNetV2"), kwargs=words, shape=SHAPE)
    assert body.get_layer("dropout").rate == 0.3
    norms = [x for x in body.layers if isinstance(x, layers.BatchNorm)]
    assert norms and all(norm.synchronized for norm in norms)
    assert {norm.momentum for norm in norms} == {0.999}


def test_variables_without_a_name_are_counted_alike_whenever_it_is_rebuilt():
    from keras.src.applications.convnext import LayerScale

    def scaled(num_classes, image_shape):
        """Layers without names for their variables, as ConvNeXt has them."""
        x = images = keras.Input(image_shape)
        for number in range(2):
            x = LayerScale(0.5, 3, name=f"scale_{number}")(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(images, keras.layers.Dense(num_classes)(x))

    text = keras_models.describe(scaled)
    paths = [
        [v.path for v in architecture.rebuild(text, "float32").variables]
        for _ in range(2)
    ]
    assert paths[0] == paths[1]
    assert "scale_0/variable" in paths[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH_MODULE)
def test_a_network_of_each_module_predicts(name):
    body = keras_models.build(network(name), shape=EACH_MODULE[name])
    logits = keras_models.predict(body, keras_models.images(EACH_MODULE[name][0], 2))
    assert logits.shape == (2, 5)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("MobileNetV2", (32, 32, 1), "takes images of three channels, these have 1"),
        ("MobileNetV2", (8, 8, 3), "cannot be built for images of 8 x 8: Input size"),
        ("Xception", (70, 71, 3), "Input size must be at least 71x71"),
    ],
)
def test_images_that_do_not_fit_are_refused_in_two_lines(name, shape, said):
    with pytest.raises(InvalidInput, match=said) as raised:
        keras_models.build(network(name), shape=shape)
    assert len(str(raised.value).splitlines()) == 2
    assert f"model=keras:{name}" in str(raised.value)
