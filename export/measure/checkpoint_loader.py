"""Loads checkpoints with TensorFlow and Keras."""

import pathlib
from collections.abc import Callable

import tensorflow as tf

from export.artifact.serving_module import ServingModule
from trainer.models.evaluator import Evaluator
from trainer.rundir import checkpoints
from trainer.rundir.layout import Run
from trainer.rundir.weights import eval_weights


def load_checkpoint(path: pathlib.Path) -> Callable[[], object]:
    """Loads a run's last checkpoint; returns a function that runs it on a black image.

    Args:
        path: the run directory.
    """
    run = Run(path)
    data, step = run.recorded()["data"], run.result()["steps"]
    shape = tuple(data["image_shape"])
    evaluator = Evaluator(
        run.config().model, image_shape=shape, num_classes=len(data["labels"])
    )
    checkpoint = checkpoints.load(checkpoints.step_folder(run.checkpoints, step))
    evaluator.load(eval_weights(checkpoint.arrays))
    module = ServingModule(evaluator.model, 1.0)
    call = tf.function(module.probabilities, autograph=False)
    image = tf.zeros((1, *shape), tf.uint8)
    return lambda: call(image)
