"""Converts a ServingModule to ONNX with tf2onnx, which is optional.

https://onnx.ai: the operators are those of ONNX itself, in float32. The batch is open.
"""

import collections
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from eval.formats.embedded import LABELS, PROVENANCE, one_line
from eval.formats.onnx_metadata import TEMPERATURE
from export.artifact.serving_module import ServingModule
from trainer.errors import TrainingFailed, first_line
from trainer.monitoring import native_output

OPSET = 18  # of 2022: ONNX Runtime 1.14 and later read it
_INPUT, _OUTPUT, _BATCH = "images", "probabilities", "N"


def describe_converter() -> dict[str, str]:
    """The field of a manifest that names the converter."""
    return {"name": "tf2onnx", "version": importlib.metadata.version("tf2onnx")}


def convert(network: ServingModule) -> bytes:
    """Converts `network`: uint8 pixels [N, H, W, C] to float32 probabilities [N, K].

    Raises:
        TrainingFailed: an operator of it has no counterpart in ONNX.
    """
    with native_output.suppress_native_stderr("converting to ONNX"):
        import onnx
        import tf2onnx

        spec = tf.TensorSpec([None, *network.image_shape], tf.uint8, _INPUT)
        function = tf.function(
            lambda images: {_OUTPUT: network.probabilities(images)},
            input_signature=[spec],
            autograph=False,
        )
        try:
            model, _ = tf2onnx.convert.from_function(
                function, input_signature=[spec], opset=OPSET
            )
            for value in (*model.graph.input, *model.graph.output):
                value.type.tensor_type.shape.dim[0].dim_param = _BATCH
            onnx.checker.check_model(model)
        except Exception as error:  # the packages have no exception of their own
            raise TrainingFailed(
                f"tf2onnx cannot convert this network: {first_line(error)}"
            ) from error
    return model.SerializeToString(deterministic=True)


def count_operators(content: bytes) -> dict[str, int]:
    """Counts the operators of an ONNX model by their names."""
    import onnx

    nodes = onnx.load_from_string(content).graph.node
    return dict(sorted(collections.Counter(node.op_type for node in nodes).items()))


def add_metadata(
    content: bytes,
    text: str,
    labels: Sequence[str],
    temperature: float | str,
    facts: Mapping[str, Any] | None = None,
) -> bytes:
    """Adds `text` as description, and labels, temperature and `facts` as metadata.

    ONNX Runtime gives the metadata as `get_modelmeta().custom_metadata_map`.
    """
    import onnx

    model = onnx.load_from_string(content)
    model.doc_string = text
    del model.metadata_props[:]
    lines = "".join(f"{one_line(label)}\n" for label in labels)
    props = {LABELS: lines, TEMPERATURE: str(temperature)}
    if facts is not None:
        props[PROVENANCE] = json.dumps(facts, indent=2)
    onnx.helper.set_model_props(model, props)
    return model.SerializeToString(deterministic=True)
