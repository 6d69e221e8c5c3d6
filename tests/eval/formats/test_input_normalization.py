"""Pixels reach a tensor as its own number format says."""

import numpy as np
import pytest

from eval.formats import input_normalization
from eval.formats.input_normalization import InputNormalization, InputRange
from eval.predictors import outputs
from eval.predictors.outputs import Output

RAMP = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize(
    ("span", "low", "high"),
    [(InputRange.RAW, 0, 255), (InputRange.UNIT, 0, 1), (InputRange.SIGNED, -1, 1)],
)
def test_ranges_mean_their_ends(span, low, high):
    real = input_normalization.encode(
        RAMP, np.float32, (0.0, 0), InputNormalization.from_range(span)
    )
    assert real.dtype == np.float32
    assert (real.min(), real.max()) == (low, high)
    expected = low + (high - low) * (RAMP / 255)
    np.testing.assert_allclose(real, expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1 / 128, 0.0075674])
def test_eight_bits_take_the_pixel_itself(scale):
    as_uint8 = input_normalization.encode(RAMP, np.uint8, (scale, 0), None)
    as_int8 = input_normalization.encode(RAMP, np.int8, (scale, -128), None)
    np.testing.assert_array_equal(as_uint8, RAMP)
    np.testing.assert_array_equal(as_int8.astype(int) + 128, RAMP)


def test_eight_bits_take_a_range_when_told_to():
    unit = InputNormalization.from_range(InputRange.UNIT)
    taken = input_normalization.encode(RAMP, np.int8, (1 / 255, -128), unit)
    np.testing.assert_array_equal(taken.astype(int) + 128, RAMP)


def test_sixteen_bits_take_the_real_value():
    taken = input_normalization.encode(RAMP, np.int16, (255 / 32767, 0), None)
    np.testing.assert_allclose(taken * (255 / 32767), RAMP, atol=0.004)
    clipped = input_normalization.encode(RAMP, np.int16, (1 / 32767, 0), None)
    assert clipped.max() == 32767


def test_dequantize_uses_the_tensors_own_numbers():
    raw = np.array([[-128, 0, 127]], np.int8)
    assert input_normalization.dequantize(raw, (1 / 256, -128)).tolist() == [
        [0, 0.5, 255 / 256]
    ]
    assert input_normalization.dequantize(raw, (0.0, 0)).tolist() == [[-128, 0, 127]]


@pytest.mark.parametrize(
    ("raw", "step", "expected"),
    [
        ([[0.2, 0.8], [1.0, 0.0]], 0.0, Output.PROBABILITIES),
        ([[0.2, 0.8], [0.5, 0.6]], 0.0, Output.LOGITS),
        ([[-0.1, 1.1]], 0.0, Output.LOGITS),
        ([[0.5, 0.5 - 1 / 256]], 1 / 256, Output.PROBABILITIES),
        ([[3.0, -2.0]], 0.1, Output.LOGITS),
    ],
)
def test_the_automatic_rule_looks_at_range_and_sum(raw, step, expected):
    assert outputs.infer_output(np.array(raw), step) is expected


def test_logits_become_probabilities_even_when_large():
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]])
    result = outputs.to_probabilities(logits, Output.LOGITS, 0.0)
    assert result.tolist() == [[1, 0], [0, 1]]


def test_given_probabilities_stay_as_they_are():
    raw = np.array([[0.5, 0.49]])
    assert outputs.to_probabilities(raw, Output.PROBABILITIES, 1 / 256).tolist() == [
        [0.5, 0.49]
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_answer_that_is_no_number_is_named(bad):
    raw = np.array([[0.5, 0.5], [bad, 0.5]])
    with pytest.raises(ValueError, match="image 1"):
        outputs.to_probabilities(raw, Output.LOGITS, 0.0)


def test_promised_probabilities_are_checked():
    with pytest.raises(ValueError, match="output=logits"):
        outputs.to_probabilities(np.array([[3.0, 0.0]]), Output.PROBABILITIES, 0.0)


def test_half_a_step_is_the_floor_of_quantised_probabilities_only():
    assert outputs.min_probability(Output.PROBABILITIES, 1 / 256) == 1 / 512
    assert outputs.min_probability(Output.LOGITS, 0.1) < 1e-30
    assert outputs.min_probability(Output.PROBABILITIES, 0.0) < 1e-30
