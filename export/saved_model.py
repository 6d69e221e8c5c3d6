"""Writes a run as a SavedModel for TensorFlow Serving, proven on the test split.

Synopsis::

    python -m export.saved_model  # runs/latest/export/saved_model/1/; again: 2/

It needs TensorFlow alone to load: no Keras, nothing of ours.
"""

import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from export import artifact, source
from export.artifact import Artifact
from trainer import commandline, quiet, storage

if TYPE_CHECKING:
    from export.serving import Network
    from export.source import Source

WARM_IMAGES = 8


def export(opened: "Source") -> Artifact:
    """Writes, verifies and numbers the SavedModel.

    Raises:
        Failure: an answer differs from the checkpoint's, or it cannot be written.
    """
    from eval import predictors
    from eval.outputs import Output
    from export import parity, warmup

    with artifact.writing(opened.folder) as hidden:
        made = hidden / "saved_model"
        with quiet.start_up("writing the SavedModel"):
            write(opened.network, opened.exam.names, made)
            predictor = predictors.open_file(made, Output.PROBABILITIES)
        test = parity.measure(opened.exam, predictor, "saved_model")
        parity.Gate.of(None, 0.0).check(test)
        warmup.write(made, opened.run.config().model.name, _warm(opened))
        facts = opened.facts() | _facts() | {"test": test}
        return artifact.publish_version(made, opened.folder / "saved_model", facts)


def write(network: "Network", names: tuple[str, ...], folder: pathlib.Path) -> None:
    """Saves `network` with its two signatures; `names` are those of the classes."""
    import tensorflow as tf

    from export import encoded

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
        lambda files: answer(encoded.decode(files, shape)), [files], autograph=False
    )
    signatures = {
        "serving_default": serve.get_concrete_function(),
        "serve_encoded": serve_encoded.get_concrete_function(),
    }
    try:
        tf.saved_model.save(module, str(folder), signatures)
    except tf.errors.OpError as error:  # TensorFlow's wrapping of what the disk said
        raise storage.told(error.message.rsplit("; ", 1)[-1]) from error


def _warm(opened: "Source") -> dict[str, dict[str, Any]]:
    import tensorflow as tf

    images = opened.exam.images[:WARM_IMAGES]
    encoded = tf.stack([tf.io.encode_png(image) for image in images])
    return {
        "serving_default": {"images": images},
        "serve_encoded": {"encoded": encoded},
    }


def _facts() -> dict[str, Any]:
    return {
        "format": "saved_model",
        "scheme": "float32",
        "io": {
            "input": "uint8",
            "output": "float32",
            "input_is": "pixel",
            "output_is": "probabilities",
        },
    }


def main(values: flags.FlagValues) -> None:
    """Exports one SavedModel and says where it is."""
    print(export(source.open_source(values, folders=True)).sentence())


if __name__ == "__main__":
    _values = source.define(flags.FlagValues())
    commandline.run(
        "export.saved_model",
        "Writes a run as a SavedModel and proves it on the test split.",
        _values,
        lambda: main(_values),
    )
