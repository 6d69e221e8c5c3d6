"""The table of a network's layers and its totals."""

import keras
import pytest

from trainer.config.schema import ModelConfig
from trainer.models import builder
from trainer.models.analysis import layer_table

L = keras.layers


def test_the_table_of_visual_wake_words():
    model = builder.build_model(
        ModelConfig(name="mobilenet"), image_shape=(96, 96, 3), num_classes=2
    )
    lines = list(layer_table.describe(model.get_layer("body"), "float32"))
    titles, *rows, parameters, field, memory = lines
    assert titles.split() == " ".join(layer_table.TITLES).split()
    assert len(rows) == len(model.get_layer("body").layers)
    expected = "stem_conv Conv2D 48 x 48 x 8 224 497,664 3 x 3 72.0 KiB"
    assert " ".join(rows[1].split()) == expected
    assert parameters == (
        "221,794 parameters, 216,322 of them trained; 7,489,664 multiply-adds per image"
    )
    assert "315 x 315 pixels" in field
    # Input and output of the first pointwise convolution: 48 x 48 x (8 + 16) bytes.
    assert memory.endswith("216.0 KiB in float32, 54.0 KiB in int8")


def test_a_shared_layer_is_counted_once_and_called_twice():
    image, shared = keras.Input((8, 8, 4)), L.Conv2D(4, 1)
    cost = layer_table.measure(keras.Model(image, shared(shared(image))))
    assert [layer.parameters for layer in cost.layers] == [0, 20, 0]
    assert cost.parameters == 20
    assert cost.multiply_adds == 2 * 8 * 8 * 16


@pytest.mark.parametrize(("last", "live"), [(L.ReLU(), 2), (L.MaxPooling2D(1), 3)])
def test_activations_write_over_their_input(last, live):
    image = keras.Input((8, 8, 4))
    left = L.Conv2D(4, 1)(image)
    body = keras.Model(image, L.Add()([last(left), image]))
    assert layer_table.measure(body).live == max(live, 3) * 8 * 8 * 4


def test_half_precision_takes_half_the_memory():
    body = keras.Sequential([keras.Input((8, 8, 4)), L.ReLU()])._functional
    sizes = {
        precision: list(layer_table.describe(body, precision))[-1]
        for precision in ("float32", "mixed_bfloat16", "float64")
    }
    for precision, text in (("mixed_bfloat16", 1), ("float32", 2), ("float64", 4)):
        assert f"image: {text}.0 KiB in training" in sizes[precision]
