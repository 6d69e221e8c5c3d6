"""Writes a SavedModel with its two signatures."""

import pathlib
from typing import TYPE_CHECKING

from export.serving import image_decoding
from trainer import storage

if TYPE_CHECKING:
    from export.serving.module import ServingModule


def write(
    network: "ServingModule", names: tuple[str, ...], folder: pathlib.Path
) -> None:
    """Saves `network` with its two signatures; `names` are those of the classes."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = network.weights
    module.labels = tf.constant(names)

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = network.probabilities(images)
        class_id = tf.argmax(probabilities, axis=1)  # the first of equal ones
        label = tf.gather(module.labels, class_id)
        return {"probabilities": probabilities, "class_id": class_id, "label": label}

    shape = network.image_shape
    images = tf.TensorSpec([None, *shape], tf.uint8, "images")
    files = tf.TensorSpec([None], tf.string, "encoded")
    serve = tf.function(answer, [images], autograph=False)
    serve_encoded = tf.function(
        lambda files: answer(image_decoding.decode(files, shape)),
        [files],
        autograph=False,
    )
    signatures = {
        "serving_default": serve.get_concrete_function(),
        "serve_encoded": serve_encoded.get_concrete_function(),
    }
    try:
        tf.saved_model.save(module, str(folder), signatures)
    except tf.errors.OpError as error:  # TensorFlow's wrapping of what the disk said
        raise storage.parse_os_error(error.message.rsplit("; ", 1)[-1]) from error
