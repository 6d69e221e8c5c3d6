"""Writes a run as a SavedModel, verified on the test split before it is numbered."""

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from eval.predictors import model_files
from eval.predictors.file_options import FileOptions
from eval.predictors.outputs import Output
from export.artifact import artifact, file_verification
from export.artifact.artifact import Artifact
from export.artifact.export_options import ExportRequest
from export.artifact.inputs import ExportInputs, open_inputs
from export.artifact.serving_module import ServingModule
from export.examples import program_folder, serving_programs
from export.examples.program_facts import ProgramFacts
from export.serving import image_decoding, warmup
from trainer import storage
from trainer.data.preprocessing import PixelSpec
from trainer.monitoring import native_output

FOLDER = "saved_model"  # in the folder of exports; its versions are numbered folders
WARMUP_IMAGES = 8
_FORMAT = {
    "format": "saved_model",
    "scheme": "float32",
    "io": {
        "input": "uint8",
        "output": "float32",
        "input_is": "pixel",
        "output_is": "probabilities",
    },
}


def export_saved_model(request: ExportRequest) -> Artifact:
    """Opens the run of `request` and writes it, see `write_saved_model`."""
    return write_saved_model(open_inputs(request))


def write_saved_model(inputs: ExportInputs) -> Artifact:
    """Writes, verifies and numbers a SavedModel.

    Raises:
        InvalidInput: something else has the name of their folder.
        TrainingFailed: an answer differs from the checkpoint's, or it cannot be
            written.
    """
    names, root = inputs.verification_set.names, inputs.folder / FOLDER
    artifact.check_folder(root)
    with artifact.staging_folder(inputs.folder) as folder:
        path = folder / FOLDER
        with native_output.suppress_native_stderr("writing the SavedModel"):
            spec = inputs.preprocessing
            save_signatures(inputs.network, spec, names, path)
            predictor = model_files.open_file(path, FileOptions(Output.PROBABILITIES))
        verified = file_verification.verify_file(inputs, predictor, None, FOLDER)
        model_name = inputs.run.config().model.name
        warmup.write_requests(path, model_name, _warmup_requests(inputs))
        facts = inputs.facts() | _FORMAT | verified
        _write_programs(path / program_folder.INSIDE, inputs, facts)
        return artifact.publish_version(path, root, facts)


def _write_programs(
    folder: pathlib.Path, inputs: ExportInputs, facts: Mapping[str, Any]
) -> None:
    """Writes the programs that ask a server of the SavedModel."""
    programs = serving_programs.format_programs(
        inputs.run.config().model.name,  # as in the warm-up requests
        ProgramFacts.from_manifest(facts),
        inputs.verification_set.images[0],
    )
    program_folder.write_programs(folder, programs)


def save_signatures(
    network: ServingModule,
    spec: PixelSpec,
    names: tuple[str, ...],
    folder: pathlib.Path,
) -> None:
    """Saves `network` with its two signatures.

    Args:
        network: what answers.
        spec: how encoded images become pixels.
        names: names of the classes.

    Raises:
        OSError: the storage does not take it.
    """
    module = tf.Module()
    module.weights = network.weights
    module.labels = tf.constant(names)

    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = _answer(network, images)
        class_id = tf.argmax(probabilities, axis=1)  # the first of equal ones
        label = tf.gather(module.labels, class_id)
        return {"probabilities": probabilities, "class_id": class_id, "label": label}

    shape = network.image_shape
    images = tf.TensorSpec([None, *shape], tf.uint8, "images")
    files = tf.TensorSpec([None], tf.string, "encoded")
    serve = tf.function(classify, [images], autograph=False)
    serve_encoded = tf.function(
        lambda files: classify(image_decoding.decode_images(files, spec)),
        [files],
        autograph=False,
    )
    _save(module, folder, {"serving_default": serve, "serve_encoded": serve_encoded})


def _answer(network: ServingModule, images: tf.Tensor) -> tf.Tensor:
    """Probabilities float32 [N, K] of `images` uint8 [N, H, W, C]; N may be 0.

    An empty batch gets one image, whose answer is dropped: on some processors oneDNN's
    fused convolution gives an empty batch the depth of its input.
    """
    count = tf.shape(images)[0]
    missing = tf.cast(tf.equal(count, 0), tf.int32)
    padded = tf.pad(images, [[0, missing], [0, 0], [0, 0], [0, 0]])
    return network.probabilities(padded)[:count]


def _save(
    module: tf.Module,
    folder: pathlib.Path,
    functions: dict[str, tf.types.experimental.PolymorphicFunction],
) -> None:
    signatures = {name: f.get_concrete_function() for name, f in functions.items()}
    try:
        tf.saved_model.save(module, str(folder), signatures)
    except tf.errors.OpError as error:  # TensorFlow's wrapping of an OSError
        raise storage.parse_os_error(error.message.rsplit("; ", 1)[-1]) from error


def _warmup_requests(inputs: ExportInputs) -> dict[str, dict[str, Any]]:
    """One request for each signature, by input name."""
    images = inputs.verification_set.images[:WARMUP_IMAGES]
    encoded = tf.stack([tf.io.encode_png(image) for image in images])
    return {
        "serving_default": {"images": images},
        "serve_encoded": {"encoded": encoded},
    }
