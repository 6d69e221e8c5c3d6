"""Loads ONNX files with ONNX Runtime alone."""

import pathlib
from collections.abc import Callable

import numpy as np

from eval.predictors.runtimes import onnx_session


def load_onnx(path: pathlib.Path, threads: int) -> Callable[[], object]:
    """Loads an ONNX file and returns a function that runs it on a black image."""
    session = onnx_session.open_session(path, threads)
    detail = onnx_session.describe_input(session, path)
    shape = [side if side is not None else 1 for side in detail.shape]
    feed = {detail.name: np.zeros(shape, detail.dtype)}
    return lambda: session.run(None, feed)
