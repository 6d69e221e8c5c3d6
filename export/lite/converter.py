"""Converts a ServingModule to the bytes of a `.tflite`.

Batch 1 and fixed shapes need the fewest operators. The converted function belongs to a
tf.Module, which keeps the signature. Integer schemes (Jacob et al. 2018) convert the
network after normalisation, so that a quantised input is the pixel itself.
"""

import contextlib
import io as text_io
import warnings
import weakref

import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from eval.formats.flatbuffer import FlatbufferInfo
from export.artifact.number_formats import NEEDS_CALIBRATION, ROUNDED, Io, Scheme
from export.artifact.serving_module import ServingModule
from export.lite.calibration_images import CalibrationImages
from trainer.errors import InvalidConfig, TrainingFailed, first_line
from trainer.models.normalization import PIXEL_MEAN, PIXEL_STD
from trainer.monitoring import native_output

_TYPES = {
    Io.UINT8: tf.uint8,
    Io.INT8: tf.int8,
    Io.INT16: tf.int16,
    Io.FLOAT32: tf.float32,
}
_INT16X8_OPS = (
    tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
)
# Scale and zero point. (pixel - 128) / 128 is -1 at pixel 0 and 127/128 at pixel 255;
# int16 is symmetric.
_INPUT_QUANTIZATION = {
    (Scheme.INT8, Io.UINT8): (1 / PIXEL_STD, PIXEL_MEAN),
    (Scheme.INT8, Io.INT8): (1 / PIXEL_STD, 0),
    (Scheme.INT8, Io.FLOAT32): (1 / PIXEL_STD, 0),  # behind its QUANTIZE
    (Scheme.INT16X8, Io.INT16): (1 / 32767, 0),
    (Scheme.INT16X8, Io.FLOAT32): (1 / 32767, 0),
}

# Float files of networks that are still in use, see `convert_plain`.
_PLAIN: weakref.WeakKeyDictionary[ServingModule, bytes] = weakref.WeakKeyDictionary()


def convert_plain(network: ServingModule) -> bytes:
    """Converts `network` to float32 at both ends, once.

    Integer files are compared with it layer by layer, and litert-quantizer starts from
    it: an export needs it up to three times, a bench for several formats.

    Raises:
        TrainingFailed: the conversion fails.
    """
    if network not in _PLAIN:
        _PLAIN[network] = convert(network, Scheme.FLOAT32, Io.FLOAT32, None)
    return _PLAIN[network]


def convert(
    network: ServingModule, scheme: Scheme, io: Io, images: CalibrationImages | None
) -> bytes:
    """Converts `network`; the schemes in NEEDS_CALIBRATION need `images`.

    A network that was trained with `qat` has ranges of its own and needs none.

    Raises:
        InvalidConfig: `scheme` is not for a network that was trained with `qat`, or
            for one with a loop.
        TrainingFailed: the conversion fails, the quantised input is not the pixel, or
            a layer of a `qat` run is not computed with integers.
    """
    if network.is_rounded and scheme not in ROUNDED:
        raise InvalidConfig(
            f"scheme={scheme.value} is not for a run of `qat`, which was trained for "
            f"int8; use scheme={' or '.join(each.value for each in ROUNDED)}"
        )
    with (
        native_output.suppress_native_stderr(f"converting to {scheme.value}"),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(text_io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        function = _concrete_function(network, scheme, io)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
        if network.is_rounded:
            _configure_rounded(converter, scheme, io)
        else:
            _configure(converter, scheme, io, images)
        try:
            content = converter.convert()
        except Exception as error:  # the converter has no exception of its own
            raise TrainingFailed(
                f"conversion to {scheme.value} failed: {first_line(error)}"
            ) from error
    check_input_quantization(content, scheme, io)
    if network.is_rounded and scheme is Scheme.INT8:
        check_integers(content)
    return content


def check_integers(content: bytes) -> None:
    """Checks that all operators between the input and the output take integers.

    Raises:
        TrainingFailed: one computes with floats.
    """
    if floats := FlatbufferInfo(content).float_operators():
        raise TrainingFailed(
            f"{', '.join(floats)} would be computed with floats, as a range is missing "
            "in the network that `qat` trained; export it with scheme=float32"
        )


def _check_loops(function: ConcreteFunction, scheme: Scheme) -> None:
    """Refuses loops, as of an LSTM: TensorFlow 2.21 dies of SIGSEGV on their ranges."""
    loops = {"While", "StatelessWhile"}
    kinds = {operation.type for operation in function.graph.get_operations()}
    if scheme in NEEDS_CALIBRATION and kinds & loops:
        raise InvalidConfig(
            f"scheme={scheme.value} is not for a network with a loop, as an LSTM or GRU"
            " has; use scheme=dynamic, float16 or float32"
        )


def check_input_quantization(content: bytes, scheme: Scheme, io: Io) -> None:
    """Checks that a quantised input is the pixel itself.

    Raises:
        TrainingFailed: the scale or zero point is wrong.
    """
    expected = _INPUT_QUANTIZATION.get((scheme, io))
    if expected is None:
        return
    scale, zero_point = FlatbufferInfo(content).input_quantization()
    if abs(scale / expected[0] - 1) > 1e-6 or zero_point != expected[1]:
        raise TrainingFailed(
            f"the input of {scheme.value} has scale {scale:.7g} and zero point "
            f"{zero_point}, it must be {expected[0]:.7g} and {expected[1]};\nthe "
            "calibration images must hold a pixel 0 and a pixel 255"
        )


def _concrete_function(
    network: ServingModule, scheme: Scheme, io: Io
) -> ConcreteFunction:
    pixels_in = io is Io.UINT8 and scheme not in NEEDS_CALIBRATION
    call = network.probabilities if pixels_in else network.after_normalisation
    dtype = tf.uint8 if pixels_in else tf.float32
    spec = tf.TensorSpec([1, *network.image_shape], dtype, "images")
    function = tf.function(
        lambda images: {"probabilities": call(images)},
        input_signature=[spec],
        autograph=False,
    )
    concrete = function.get_concrete_function()
    _check_loops(concrete, scheme)
    return concrete


def _configure_rounded(
    converter: tf.lite.TFLiteConverter, scheme: Scheme, io: Io
) -> None:
    """Lets the converter take the ranges of fake quantisation, which are in the graph.

    With representative images it would measure others.
    """
    if scheme is Scheme.INT8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = _TYPES[io]
        converter.inference_output_type = _TYPES[io]


def _configure(
    converter: tf.lite.TFLiteConverter,
    scheme: Scheme,
    io: Io,
    images: CalibrationImages | None,
) -> None:
    if scheme is Scheme.FLOAT32:
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme is Scheme.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if scheme in NEEDS_CALIBRATION:
        if images is None:
            raise ValueError(f"{scheme.value} needs calibration images")
        ops = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        if scheme is Scheme.INT16X8:
            ops = _INT16X8_OPS
        converter.representative_dataset = images.normalised
        converter.target_spec.supported_ops = [ops]
        converter.inference_input_type = _TYPES[io]
        converter.inference_output_type = _TYPES[io]
