"""Loads `.tflite` files, without TensorFlow."""

import pathlib
from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from eval.predictors.engine import Kernels
from eval.predictors.runtimes.compiled_session import CompiledSession
from eval.predictors.tflite_predictor import RESOLVERS


def load_tflite(
    path: pathlib.Path, threads: int, kernels: Kernels
) -> Callable[[], None]:
    """Loads a `.tflite` and returns a function that runs it on a black image."""
    interpreter = Interpreter(
        str(path),
        num_threads=threads,
        experimental_op_resolver_type=RESOLVERS[kernels],
    )
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    zeros = np.zeros(detail["shape"], detail["dtype"])
    interpreter.set_tensor(detail["index"], zeros)
    return interpreter.invoke


def load_compiled(
    path: pathlib.Path, threads: int, kernels: Kernels
) -> Callable[[], None]:
    """The same in the CompiledModel API; its session begins with such an image."""
    return CompiledSession(path.read_bytes(), kernels, threads).invoke
