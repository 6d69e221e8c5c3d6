"""Writes a run as a SavedModel for TensorFlow Serving, proven on the test split.

Synopsis::

    python -m export.saved_model  # runs/latest/export/saved_model/1/; again: 2/

It needs TensorFlow alone to load: no Keras, nothing of ours.
"""

from typing import TYPE_CHECKING, Any, NoReturn

from absl import flags

from eval.predictors import model_files
from eval.predictors.file_options import FileOptions
from export import artifact, inputs, verification
from export.artifact import Artifact
from export.serving import warmup, writer
from trainer.cli import command
from trainer.monitoring import native_output

if TYPE_CHECKING:
    from export.inputs import ExportInputs

WARM_IMAGES = 8


def export(opened: "ExportInputs") -> Artifact:
    """Writes, verifies and numbers the SavedModel.

    Raises:
        Failure: an answer differs from the checkpoint's, or it cannot be written.
    """
    from eval.predictors.outputs import Output

    with artifact.writing(opened.folder) as hidden:
        made = hidden / "saved_model"
        with native_output.suppress_native_stderr("writing the SavedModel"):
            writer.write(opened.network, opened.exam.names, made)
            predictor = model_files.open_file(made, FileOptions(Output.PROBABILITIES))
        test = verification.measure(opened.exam, predictor, "saved_model")
        verification.Gate.of(None, 0.0).check(test)
        warmup.write(made, opened.run.config().model.name, _warm(opened))
        facts = opened.facts() | _facts() | {"test": test}
        return artifact.publish_version(made, opened.folder / "saved_model", facts)


def _warm(opened: "ExportInputs") -> dict[str, dict[str, Any]]:
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
    print(export(inputs.open_inputs(values, folders=True)).sentence())


def run() -> NoReturn:
    """Runs the command with the words of this process."""
    values = inputs.define(flags.FlagValues())
    command.run(
        "export.saved_model",
        "Writes a run as a SavedModel and proves it on the test split.",
        values,
        lambda: main(values),
    )


if __name__ == "__main__":
    run()
