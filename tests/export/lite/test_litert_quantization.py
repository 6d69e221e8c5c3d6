"""Files of litert-quantizer take the pixel and answer as those of the converter."""

import importlib.util

import numpy as np
import pytest

from eval.formats.flatbuffer import FlatbufferInfo
from export import tflite
from export.artifact import artifact, verification
from export.artifact.number_formats import Io, Scheme
from export.lite import conversion_route, litert_quantization, tflite_writer
from export.lite.tflite_options import KeptAs, QuantizerChoice, TFLiteOptions
from tests.support import export_runs
from trainer.errors import InvalidConfig, InvalidInput

LITERT = QuantizerChoice.LITERT
INT8 = TFLiteOptions(Scheme.INT8, Io.UINT8, quantizer=LITERT)
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("litert_quantizer") is None,
    reason="litert-quantizer is not installed",
)


@pytest.fixture(scope="module")
def opened():
    return export_runs.opened("--max_accuracy_drop=0.05")


@pytest.fixture(scope="module")
def made(opened):
    return tflite_writer.write_tflite(opened, INT8)


@needs_package
def test_the_input_is_the_pixel_and_answers_are_those_of_the_other_route(opened, made):
    assert made.path.name == "model_int8_litert.tflite"
    graph = FlatbufferInfo(made.path.read_bytes())
    assert graph.input_quantization() == (1 / 128, 128)
    assert made.manifest["quantizer"]["name"] == "litert-quantizer"
    assert made.manifest["float_operators"] == []
    assert made.manifest["layers"] and made.manifest["calibration"]["images"] == 500
    other = tflite_writer.write_tflite(opened, TFLiteOptions(Scheme.INT8, Io.UINT8))
    assert other.manifest["quantizer"]["name"] == "TFLiteConverter"
    answers = [
        verification.predict(
            opened.verification_set,
            tflite_writer.open_predictor(each.path, opened.verification.kernels),
            each.path.name,
        )
        for each in (made, other)
    ]
    flips = verification.count_flips(*answers)
    assert flips <= 0.01 * len(opened.verification_set.labels)


@needs_package
@pytest.mark.parametrize(
    ("scheme", "io"),
    [
        (Scheme.INT8, Io.INT8),
        (Scheme.INT8, Io.FLOAT32),
        (Scheme.INT16X8, Io.INT16),
        (Scheme.INT16X8, Io.FLOAT32),
    ],
)
def test_every_type_of_input_is_that_of_the_converter(opened, scheme, io):
    options = TFLiteOptions(scheme, io, 20, LITERT)
    images = tflite_writer.select_calibration_images(opened, options)
    found = conversion_route.convert_network(opened.network, options, images).content
    plain = TFLiteOptions(scheme, io, 20)
    other = conversion_route.convert_network(opened.network, plain, images).content
    ours, theirs = FlatbufferInfo(found), FlatbufferInfo(other)
    np.testing.assert_allclose(
        ours.input_quantization(), theirs.input_quantization(), rtol=1e-6
    )
    assert ours.quantised_kernels()["per_channel"] > 0


@needs_package
@pytest.mark.parametrize("kept_as", KeptAs)
def test_the_layers_that_lose_most_are_kept(opened, kept_as):
    options = TFLiteOptions(Scheme.INT8, Io.UINT8, 20, LITERT, 2, kept_as)
    images = tflite_writer.select_calibration_images(opened, options)
    found = conversion_route.convert_network(opened.network, options, images)
    assert len(found.facts["kept_layers"]) == 2
    operators = FlatbufferInfo(found.content).operators()
    assert operators["QUANTIZE"] > 2  # one at each end, and around what is kept
    assert options.file_name == f"model_int8_litert_2-{kept_as.value}.tflite"


def test_a_missing_package_is_told_in_two_lines(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    values = export_runs.parsed(
        tflite.define, "--quantize", "--quantizer=litert", "--run_dir=/nowhere"
    )
    with pytest.raises(InvalidInput, match="pip install litert-quantizer") as caught:
        tflite.main(values)
    assert len(str(caught.value).splitlines()) == 2


REFUSED = {
    "quantizer=litert makes scheme=int8 or int16x8, not float16": (Scheme.FLOAT16, {}),
    "kept_layers=-1 must be within": (Scheme.INT8, {"kept_layers": -1}),
    "kept_layers=2 is for quantizer=litert and scheme=int8": (
        Scheme.INT16X8,
        {"kept_layers": 2},
    ),
    "kept_as=int16 says nothing without": (Scheme.INT8, {"kept_as": KeptAs.INT16}),
}


@pytest.mark.parametrize("said", REFUSED)
def test_options_that_contradict_each_other_are_refused(said):
    scheme, more = REFUSED[said]
    with pytest.raises(InvalidConfig, match=said):
        TFLiteOptions(scheme, Io.UINT8, quantizer=LITERT, **more)


@needs_package
def test_a_network_that_cannot_be_quantised_says_so(opened):
    images = tflite_writer.select_calibration_images(opened, INT8)
    with pytest.raises(
        litert_quantization.TrainingFailed, match="use quantizer=tflite"
    ):
        litert_quantization.quantize(b"TFL3" * 9, Scheme.INT8, Io.INT8, images)


@needs_package
def test_the_file_is_an_artifact(made):
    assert artifact.load_artifact(made.path) is not None
