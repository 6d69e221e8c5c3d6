"""Warm-up requests: TensorFlow Serving answers them before a version takes traffic.

https://www.tensorflow.org/tfx/serving/saved_model_warmup: TFRecords of PredictionLog in
assets.extra. The package with these messages requires another TensorFlow, so the four
levels around the tensor are written by field number (prediction_log.proto,
predict.proto, model.proto).
"""

import pathlib
from collections.abc import Mapping

import tensorflow as tf

REQUESTS_FILE = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
_PREDICT_LOG, _REQUEST = 6, 1
_MODEL_SPEC, _INPUTS = 1, 2
_NAME, _SIGNATURE_NAME = 1, 3
_KEY, _VALUE = 1, 2  # of an entry of a map


def write_requests(
    folder: pathlib.Path, model: str, requests: Mapping[str, Mapping[str, tf.Tensor]]
) -> None:
    """Writes one request for each signature into the SavedModel in `folder`.

    Args:
        model: its name in the server.
        requests: signature name -> input name -> tensor.
    """
    path = folder / REQUESTS_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature, inputs in requests.items():
            records.write(prediction_log(model, signature, inputs))


def prediction_log(
    model: str, signature: str, inputs: Mapping[str, tf.Tensor]
) -> bytes:
    """A PredictionLog that asks `signature` of `model` for `inputs`."""
    spec = _field(_NAME, model.encode()) + _field(_SIGNATURE_NAME, signature.encode())
    request = _field(_MODEL_SPEC, spec)
    for name, tensor in inputs.items():
        value = tf.make_tensor_proto(tensor).SerializeToString()
        request += _field(_INPUTS, _field(_KEY, name.encode()) + _field(_VALUE, value))
    return _field(_PREDICT_LOG, _field(_REQUEST, request))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field: https://protobuf.dev/programming-guides/encoding/."""
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
