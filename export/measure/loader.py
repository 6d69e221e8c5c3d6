"""Loads a model in this process, ready to run on one image."""

import pathlib
from collections.abc import Callable

from eval.predictors.engine import Kernels

RunOnce = Callable[[], object]  # runs the model on one constant image


def prepare_loader(
    path: pathlib.Path, threads: int, kernels: Kernels = Kernels.XNNPACK
) -> Callable[[], RunOnce]:
    """Imports only the runtime that a model needs, as others would add memory.

    Args:
        path: a `.tflite`, a SavedModel or a run directory (its last checkpoint).

    Returns:
        A function that loads the model.
    """
    if path.suffix == ".tflite":
        from export.measure import litert_loader

        return lambda: litert_loader.load_tflite(path, threads, kernels)
    if (path / "saved_model.pb").is_file():
        from export.measure import saved_model_loader

        saved_model_loader.make_devices(threads)
        return lambda: saved_model_loader.load_saved_model(path)
    from export.measure import checkpoint_loader, saved_model_loader

    saved_model_loader.make_devices(threads)
    return lambda: checkpoint_loader.load_checkpoint(path)
