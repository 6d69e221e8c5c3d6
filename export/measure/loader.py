"""Loads a model in this process, ready to run on one image."""

import pathlib
from collections.abc import Callable

from eval.predictors.engine import Kernels

RunOnce = Callable[[], object]  # runs the model on one constant image
COMPILED = "compiled:"  # before the path of a `.tflite`: in the CompiledModel API


def prepare_loader(
    model: str, threads: int, kernels: Kernels = Kernels.XNNPACK
) -> Callable[[], RunOnce]:
    """Imports only the runtime that a model needs, as others would add memory.

    Args:
        model: the path of a `.tflite`, an `.onnx`, a SavedModel or a run directory (its
            last checkpoint); COMPILED and the path of a `.tflite`.

    Returns:
        A function that loads the model.
    """
    path = pathlib.Path(model.removeprefix(COMPILED))
    if path.suffix == ".tflite":
        from export.measure import litert_loader

        compiled = model.startswith(COMPILED)
        load = litert_loader.load_compiled if compiled else litert_loader.load_tflite
        return lambda: load(path, threads, kernels)
    if path.suffix == ".onnx":
        from export.measure import onnx_loader

        return lambda: onnx_loader.load_onnx(path, threads)
    if (path / "saved_model.pb").is_file():
        from export.measure import saved_model_loader

        saved_model_loader.make_devices(threads)
        return lambda: saved_model_loader.load_saved_model(path)
    from export.measure import checkpoint_loader, saved_model_loader

    saved_model_loader.make_devices(threads)
    return lambda: checkpoint_loader.load_checkpoint(path)
