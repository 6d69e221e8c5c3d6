"""Keras models become bodies with our layers, and what cannot is refused by name."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import convnext

from tests.support.keras_models import SHAPE, build, describe, images, predict
from trainer.errors import InvalidInput
from trainer.models import architecture
from trainer.models.layers import Affine, BatchNorm, Dropout, StochasticDepth

L = keras.layers


def kinds(body: keras.Model) -> dict[str, type]:
    return {layer.name: type(layer) for layer in body.layers}


def own(*middle, ending="softmax", first=None, side=24) -> keras.Sequential:
    """A Sequential for images of another size, with its own scaling and softmax."""
    begin = [L.Rescaling(1 / 127.5, offset=-1)] if first is None else first
    return keras.Sequential(
        [keras.Input((side, side, 3)), *begin, L.Conv2D(4, 3), *middle]
        + [L.GlobalAveragePooling2D(), L.Dense(5, activation=ending)],
        name="own",
    )


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "float64"])
def test_a_sequential_becomes_a_body_of_our_layers(precision):
    body = build(own(L.BatchNormalization(), L.Dropout(0.2)), precision)
    found = list(kinds(body).values())
    assert found[1:5] == [Affine, L.Conv2D, BatchNorm, Dropout]
    assert body.output.dtype == ("float64" if precision == "float64" else "float32")
    assert body.layers[-2].activation is keras.activations.linear
    policies = {layer.dtype_policy.name for layer in body.layers[1:]}
    assert policies == {precision}


def test_the_copy_predicts_what_the_model_does():
    model = own(L.BatchNormalization(epsilon=0.1), L.ReLU(6))
    body = build(model)
    for mine, theirs in zip(body.weights, model.weights, strict=True):
        assert mine.path.split("/")[-1] == theirs.path.split("/")[-1]
        mine.assign(np.random.default_rng(0).uniform(0.5, 1, mine.shape))
        theirs.assign(mine)
    expected = model(np.float32(images(24)))
    found = tf.nn.softmax(predict(body, images(24)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_names_of_layers_do_not_depend_on_what_was_built_before():
    first = describe(own(L.Dropout(0.2)))
    own(L.Dropout(0.2)), own()
    assert describe(own(L.Dropout(0.2))) == first


def test_a_function_that_returns_a_model_is_told_by_its_first_parameter():
    def network(num_classes, image_shape, *, width=4):
        assert image_shape == SHAPE
        inputs = keras.Input(image_shape)
        x = L.Flatten()(L.Conv2D(width, 3)(inputs))
        return keras.Model(inputs, L.Dense(num_classes)(x))

    body = build(network, kwargs={"width": 8})
    assert Affine not in kinds(body).values()  # it is given pixels in [-1, 1)
    assert body.get_layer("conv2d").filters == 8


def test_layers_of_a_function_on_tensors_are_adapted_too():
    def network(x, num_classes):
        x = L.BatchNormalization(momentum=0.9)(L.Conv2D(4, 3)(x))
        x = L.SpatialDropout2D(0.5, name="spatial")(x)
        return L.Dense(num_classes)(L.GlobalMaxPooling2D()(x))

    body = build(network)
    assert body.get_layer("batch_normalization").momentum == 0.9
    assert body.get_layer("spatial").mask_shape((None, 6, 6, 4)) == (1, 1, 4)


def test_a_function_of_normalised_pixels_is_not_scaled_twice():
    def network(x, num_classes):
        return L.Dense(num_classes)(L.Flatten()(L.Rescaling(1 / 255)(x)))

    with pytest.raises(InvalidInput, match=r"network is given pixels in \[-1, 1\)"):
        describe(network)


def test_nested_models_are_dissolved_and_keep_their_training_argument():
    base = own(L.BatchNormalization(), L.Dropout(0.5), ending=None, first=[], side=12)
    base.trainable = False
    inputs = keras.Input(SHAPE)
    x = keras.applications.mobilenet_v2.preprocess_input(inputs)
    x = L.Dropout(0.1)(base(x, training=False))
    body = build(keras.Model(inputs, L.Dense(5, activation="softmax")(x)))
    names = kinds(body)
    assert [n for n, kind in names.items() if kind is Dropout] == ["dropout_1"]
    assert names["own_batch_normalization"] is BatchNorm
    assert body.get_layer("own_batch_normalization").moving == []
    assert [v.path for v in body.trainable_variables] == [
        "dense_1/kernel",
        "dense_1/bias",
    ]
    scaling = body.get_layer("pixel_scaling")
    assert (
        scaling.scale == [128 / 127.5] and abs(scaling.offset[0] - 0.5 / 127.5) < 1e-9
    )


def test_layers_of_applications_are_ours_too():
    inputs = keras.Input(SHAPE)
    x = L.Normalization(mean=[9, 8, 7], variance=[4, 4, 1])(L.Rescaling(0.1)(inputs))
    x = L.add([x, convnext.StochasticDepth(0.5, name="depth")(L.Conv2D(3, 1)(x))])
    x = L.Dropout(0.2, noise_shape=(None, 1, 1, 1), name="drop")(x)
    body = build(keras.Model(inputs, L.Dense(5)(L.Flatten()(x))))
    assert type(body.get_layer("depth")) is StochasticDepth
    assert body.get_layer("drop").mask_shape((None, 3, 3, 8)) == (1, 1, 1)
    np.testing.assert_allclose(body.get_layer("pixel_scaling").scale, [6.4, 6.4, 12.8])


MODES = {
    "caffe": lambda x: keras.applications.resnet50.preprocess_input(x),
    "torch": lambda x: keras.applications.densenet.preprocess_input(x),
    "tf": lambda x: L.Resizing(20, 20)(
        keras.applications.mobilenet_v2.preprocess_input(x)
    ),
    "operators": lambda x: (keras.ops.image.resize(x, (20, 20)) - 128) / 64,
    "reversed": lambda x: L.Rescaling([1 / 255, 1 / 64, 1])(x[..., ::-1]),
    "resized": lambda x: L.Rescaling(1 / 255)(L.Resizing(20, 20)(x)),
    "branches": lambda x: L.concatenate(
        [L.Rescaling(1 / 255)(x), L.Rescaling(1 / 64, offset=-1)(x)]
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_raw_pixels_are_scaled_as_the_model_does(mode):
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, L.GlobalAveragePooling2D()(MODES[mode](inputs)))
    model = keras.Model(inputs, L.Dense(5, name="dense")(model.output))
    body = build(model)
    body.set_weights(model.get_weights())
    expected = model(np.float32(images()))
    np.testing.assert_allclose(predict(body, images()), expected, rtol=1e-4, atol=1e-4)


def test_a_part_of_the_pixels_is_taken_as_it_is():
    inputs = keras.Input(SHAPE)
    x = L.Dense(5)(inputs[:, :, 0, 0])
    assert "pixel_scaling" not in kinds(build(keras.Model(inputs, x)))


def test_a_recurrent_layer_without_dropout_is_kept():
    inputs = keras.Input(SHAPE)
    x = L.Bidirectional(L.GRU(4, return_sequences=True))(L.Reshape((12, 36))(inputs))
    model = keras.Model(inputs, L.Dense(5)(L.LSTM(4)(x)))
    texts = describe(model), describe(model)
    assert texts[0] == texts[1]
    first, second = (architecture.rebuild(text, "float32") for text in texts)
    assert [v.path for v in first.variables] == [v.path for v in second.variables]


def test_a_layer_that_is_called_twice_shares_weights_but_no_masks():
    shared, drop = L.Dense(8, name="shared"), L.Dropout(0.5, name="drop")
    inputs = keras.Input(SHAPE)
    x = L.Flatten()(inputs)
    x = drop(shared(drop(shared(L.Dense(8)(x)))))
    body = build(keras.Model(inputs, L.Dense(5)(x)))
    names = kinds(body)
    assert names["drop"] is names["drop_call_1"] is Dropout
    assert len(body.get_layer("shared").weights) == 2
    assert architecture.rebuild(describe(keras.Model(inputs, L.Dense(5)(x))), "float32")
