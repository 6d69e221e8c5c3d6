"""Which files can be asked for, and what they are called."""

import pytest

from export.artifact.number_formats import (
    IO_TYPES,
    Io,
    Scheme,
    file_name,
    resolve_formats,
)
from trainer.errors import InvalidConfig


def test_quantize_is_int8_of_raw_pixels():
    assert resolve_formats(True, None, None) == (Scheme.INT8, Io.UINT8)
    assert resolve_formats(True, Scheme.INT8, Io.INT8) == (Scheme.INT8, Io.INT8)
    assert resolve_formats(False, None, None) == (Scheme.FLOAT32, Io.UINT8)


@pytest.mark.parametrize("scheme", [s for s in Scheme if s is not Scheme.INT8])
def test_quantize_contradicts_every_other_scheme(scheme):
    with pytest.raises(InvalidConfig, match="leave one out"):
        resolve_formats(True, scheme, None)


@pytest.mark.parametrize("scheme", Scheme)
def test_impossible_ends_are_refused_and_possible_ones_named(scheme):
    for io in set(Io) - set(IO_TYPES[scheme]):
        with pytest.raises(InvalidConfig, match=f"only {IO_TYPES[scheme][0].value} or"):
            resolve_formats(False, scheme, io)


def test_every_file_has_a_name_of_its_own():
    names = {file_name(scheme, io) for scheme in Scheme for io in IO_TYPES[scheme]}
    assert len(names) == sum(len(ends) for ends in IO_TYPES.values())
    assert {"model_int8.tflite", "model_int8_io-int8.tflite"} <= names
    assert {f"model_{scheme.value}.tflite" for scheme in Scheme} <= names
