"""A model loaded in this process, ready to be asked with one image; nothing more."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from trainer import files
from trainer.rundir import checkpoints, weights

RunOnce = Callable[[], Any]  # runs the model on one constant image


def opener(
    path: pathlib.Path, threads: int, kernels: str = "xnnpack"
) -> Callable[[], RunOnce]:
    """Imports what the model at `path` needs; the function returned loads it.

    `path` is a .tflite, a SavedModel or a run directory (its last checkpoint).
    """
    if path.suffix == ".tflite":
        from eval.predictors import tflite_predictor

        return lambda: _tflite(tflite_predictor, path, threads, kernels)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.zeros([])  # makes the devices
    if (path / "saved_model.pb").is_file():
        return lambda: _saved_model(tf, path)

    return lambda: _checkpoint(tf, path)


def _tflite(tflite: Any, path: pathlib.Path, threads: int, kernels: str) -> RunOnce:
    own = tflite.litert.Interpreter(
        str(path),
        num_threads=threads,
        experimental_op_resolver_type=tflite.RESOLVERS[tflite.Kernels(kernels)],
    )
    own.allocate_tensors()
    detail = own.get_input_details()[0]
    own.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    return own.invoke


def _saved_model(tf: Any, path: pathlib.Path) -> RunOnce:
    with files.nameless(path) as place:
        loaded = tf.saved_model.load(place)
    call = loaded.signatures["serving_default"]
    ((name, spec),) = call.structured_input_signature[1].items()
    image = tf.zeros((1, *spec.shape[1:]), spec.dtype)
    return lambda: (loaded, call(**{name: image}))  # `call` does not keep its variables


def _checkpoint(tf: Any, path: pathlib.Path) -> RunOnce:
    from export.serving.module import ServingModule
    from trainer.models.evaluator import Evaluator
    from trainer.rundir.layout import Run

    run = Run(path)
    data, step = run.recorded()["data"], run.result()["steps"]
    shape = tuple(data["image_shape"])
    evaluator = Evaluator(
        run.config().model, image_shape=shape, num_classes=len(data["labels"])
    )
    found = checkpoints.load(checkpoints.folder_of(run.checkpoints, step))
    evaluator.load(weights.eval_weights(found.arrays))
    call = tf.function(
        ServingModule(evaluator.model, 1.0).probabilities, autograph=False
    )
    image = tf.zeros((1, *shape), tf.uint8)
    return lambda: call(image)
