"""Networks: sizes of the references, pixels in, logits out; layers against Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.nets import options_of_width
from trainer import rng
from trainer.config.schema import ModelConfig
from trainer.models import builder, context, layers, noise, registry

PARAMETERS = {
    "cnn": 550_570,
    "mobilenet": 223_850,
    "resnet8": 78_666,
    "resnet20": 271_098,
    "speednet": 1_975_096,
}


def build(name: str, *, shape=(32, 32, 3), classes=10, precision="float32", **settings):
    config = ModelConfig(name=name, kwargs=settings)
    return builder.build_model(
        config, image_shape=shape, num_classes=classes, precision=precision
    )


def here(step=0, first=0) -> rng.RandomStream:
    return rng.RandomStream(
        0, tf.constant(step, tf.int64), tf.constant(first, tf.int64)
    )


def test_every_model_is_counted():
    assert PARAMETERS.keys() == registry.MODELS.keys()


@pytest.mark.parametrize("name", registry.MODELS)
def test_parameters_of_the_references(name):
    assert build(name).count_params() == PARAMETERS[name]


def test_resnet8_folded_has_the_parameters_of_mlperf_tiny():
    model = build("resnet8")
    norms = [v for v in model.variables if "_norm/" in v.path]
    assert model.count_params() - sum(int(np.prod(v.shape)) for v in norms) == 77_706


def test_mobilenet_is_the_reference_of_visual_wake_words():
    model = build("mobilenet", shape=(96, 96, 3), classes=2)
    norms = [v for v in model.variables if "_norm/" in v.path]
    assert model.count_params() == 221_794
    assert model.count_params() - sum(int(np.prod(v.shape)) for v in norms) == 210_850


def test_mobilenet_of_the_paper_has_its_parameters():
    # 4.2 million by table 8 of Howard et al. 2017, without biases and statistics.
    model = build("mobilenet", shape=(224, 224, 3), classes=1000, width=1.0)
    weights = [v for v in model.variables if "kernel" in v.path]
    assert sum(int(np.prod(v.shape)) for v in weights) == 4_209_088


@pytest.mark.parametrize("name", registry.MODELS)
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_logits_are_wide_in_every_precision(name, precision):
    model = build(name, precision=precision, **options_of_width(name))
    logits = model(np.zeros((2, 32, 32, 3), np.uint8))
    assert logits.dtype == (tf.float64 if precision == "float64" else tf.float32)


@pytest.mark.parametrize("name", registry.MODELS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 48, 3)])
def test_any_image_shape_and_number_of_classes(name, shape):
    model = build(name, shape=shape, classes=7, **options_of_width(name))
    assert model(np.zeros((3, *shape), np.uint8)).shape == (3, 7)


@pytest.mark.parametrize("name", registry.MODELS)
def test_no_keras_normalisation_or_dropout_is_left(name):
    options = registry.read_signature(name).parameters
    settings = {"dropout": 0.5} if "dropout" in options else {}
    body = build(name, **settings).get_layer("body")
    kinds = {type(layer) for layer in body.layers}
    assert not kinds & {keras.layers.BatchNormalization, keras.layers.Dropout}
    assert not any("seed" in v.path for v in body.variables)


def test_normalised_pixels_are_exact_in_bfloat16():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    out = layers.Normalise(dtype="mixed_bfloat16")(pixels)
    expected = (pixels.astype(np.float64) - 128) / 128
    np.testing.assert_array_equal(tf.cast(out, tf.float64), expected)


def dropped(rate: float, x, name="drop", **where) -> np.ndarray:
    layer, stream = layers.Dropout(rate, name=name), here(**where)
    layer(keras.Input(x.shape[1:]))  # knows its shape now, as inside a model
    masks = {name: layer.draw_numbers(stream, x.shape[0])}
    with context.forward_context(context.ForwardContext(masks)):
        return layer(x, training=True).numpy()


def test_dropout_keeps_the_mean_and_is_off_outside_training():
    x = tf.ones([64, 50, 6])
    np.testing.assert_array_equal(layers.Dropout(0.25)(x), x)
    out = dropped(0.25, x)
    assert abs((out == 0).mean() - 0.25) < 0.01
    assert abs(out.mean() - 1) < 0.02


@pytest.mark.parametrize(("name", "blocks"), [("resnet8", 3), ("resnet20", 9)])
def test_stochastic_depth_grows_with_the_block(name, blocks):
    plain = build(name, width=0.25).get_layer("body")
    body = build(name, width=0.25, stochastic_depth=0.45).get_layer("body")
    added = [x for x in body.layers if isinstance(x, noise.StochasticDepth)]
    rates = [0.45 * number / blocks for number in range(1, blocks + 1)]
    assert [x.rate for x in added] == pytest.approx(rates)
    assert {v.path for v in body.variables} == {v.path for v in plain.variables}
    assert not any(isinstance(x, noise.StochasticDepth) for x in plain.layers)


def test_stochastic_depth_drops_whole_examples():
    layer = noise.StochasticDepth(0.25, name="depth")
    x = tf.ones([4096, 2, 2, 3])
    layer(keras.Input(x.shape[1:]))
    masks = {"depth": layer.draw_numbers(here(), x.shape[0])}
    with context.forward_context(context.ForwardContext(masks)):
        out = layer(x, training=True).numpy().reshape(len(x), -1)
    assert set(np.unique(out)) == {0, np.float32(1 / 0.75)}
    assert (out == out[:, :1]).all()
    assert abs((out[:, 0] == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(layer(x), x)


def test_replicas_draw_their_part_of_one_mask():
    x = tf.ones([16, 7])
    whole = dropped(0.5, x, step=9)
    for count in (2, 4, 8):
        share = 16 // count
        firsts = range(0, 16, share)
        parts = [dropped(0.5, x[:share], step=9, first=f) for f in firsts]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_masks_of_layers_and_steps_differ():
    x = tf.ones([16, 64])
    masks = [dropped(0.5, x, n, step=s) for n, s in (("a", 0), ("b", 0), ("a", 1))]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert 0.4 < (masks[one] != masks[other]).mean() < 0.6


def test_training_without_a_context_is_refused():
    with pytest.raises(RuntimeError, match="forward_context"):
        layers.Dropout(0.5)(tf.ones([2, 2]), training=True)


def test_batch_norm_equals_keras_own():
    x = tf.random.stateless_normal([32, 6, 5, 8], [0, 1]) * 3 + 1
    ours, keras_own = layers.BatchNorm(), keras.layers.BatchNormalization()
    with context.forward_context(context.ForwardContext()) as left:
        y = ours(x, training=True)
    np.testing.assert_allclose(y, keras_own(x, training=True), atol=2e-5)
    for variable in ours.moving:
        value = left.statistics[variable.path]
        variable.assign(variable * ours.momentum + value * (1 - ours.momentum))
    np.testing.assert_allclose(ours.moving_mean, keras_own.moving_mean, atol=1e-6)
    # The fused kernel's variance is the unbiased one, n / (n - 1) of Keras'.
    np.testing.assert_allclose(
        ours.moving_variance, keras_own.moving_variance, rtol=2e-3
    )
    np.testing.assert_allclose(ours(x), keras_own(x), rtol=3e-3, atol=3e-3)
