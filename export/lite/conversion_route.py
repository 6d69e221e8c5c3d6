"""Converts a network by the quantiser that the options name."""

import dataclasses
import importlib.metadata
from typing import Any

from eval.formats.flatbuffer import FlatbufferInfo
from export.artifact.number_formats import Io
from export.artifact.serving_module import ServingModule
from export.lite import converter, layer_errors, litert_quantization
from export.lite.calibration_images import CalibrationImages
from export.lite.tflite_options import QuantizerChoice, TFLiteOptions
from trainer.errors import InvalidConfig


@dataclasses.dataclass(frozen=True)
class ConvertedModel:
    """A `.tflite` without metadata.

    Attributes:
        facts: the fields of a manifest that say how it was quantised.
    """

    content: bytes
    facts: dict[str, Any]


def convert_network(
    network: ServingModule, options: TFLiteOptions, images: CalibrationImages | None
) -> ConvertedModel:
    """Converts `network`; integer schemes need `images`.

    Raises:
        InvalidConfig: the options are not for this network.
        InvalidInput: the package of the quantiser is not installed.
        TrainingFailed: the conversion fails, or the quantised input is not the pixel.
    """
    if options.quantizer is QuantizerChoice.TFLITE:
        content = converter.convert(network, options.scheme, options.io, images)
        version = importlib.metadata.version("tensorflow")
        named = {"name": "TFLiteConverter", "version": version}
        return ConvertedModel(content, {"quantizer": named})
    if network.is_rounded:
        raise InvalidConfig(
            "quantizer=litert measures ranges, and a run of `qat` has trained its own;"
            " use quantizer=tflite"
        )
    litert_quantization.check_installed()
    return _quantize(network, options, images)


def _quantize(
    network: ServingModule, options: TFLiteOptions, images: CalibrationImages
) -> ConvertedModel:
    """Quantises the float file of `network` with litert-quantizer."""
    scheme, io = options.scheme, options.io
    plain = converter.convert_plain(network)
    layers: list[str] = []
    tensors: list[str] = []
    if options.kept_layers:
        content = litert_quantization.quantize(plain, scheme, Io.INT8, images)
        errors = layer_errors.measure(network, content, images)
        layers = layer_errors.find_worst(errors, options.kept_layers)
        tensors = layer_errors.find_outputs(plain, layers)
    content = litert_quantization.quantize(
        plain, scheme, io, images, tensors, options.kept_as
    )
    converter.check_input_quantization(content, scheme, io)
    facts = {
        "quantizer": litert_quantization.describe_quantizer(),
        "float_operators": FlatbufferInfo(content).float_operators(),
    }
    if layers:
        facts |= {"kept_layers": layers, "kept_as": options.kept_as.value}
    return ConvertedModel(content, facts)
