"""Loads SavedModels with TensorFlow alone."""

import pathlib
from collections.abc import Callable

import tensorflow as tf

from trainer import files


def make_devices(threads: int) -> None:
    """Initialises TensorFlow with `threads` threads for each operation."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.zeros([])


def load_saved_model(path: pathlib.Path) -> Callable[[], object]:
    """Loads a SavedModel and returns a function that runs it on a black image."""
    with files.literal_path(path) as folder:
        loaded = tf.saved_model.load(folder)
    call = loaded.signatures["serving_default"]
    ((name, spec),) = call.structured_input_signature[1].items()
    image = tf.zeros((1, *spec.shape[1:]), spec.dtype)
    return lambda: (loaded, call(**{name: image}))  # `call` does not keep its variables
