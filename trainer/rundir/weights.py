"""Weights among the arrays of a checkpoint, and the hash that names them."""

import hashlib
from collections.abc import Mapping

import numpy as np

SHIPPED = "shipped/"  # before the path of what it is shipped in the place of


def raw_weights(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The model's own variables by path, in model order."""
    prefix = "model/"
    return {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}


def eval_weights(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights that are evaluated and shipped: averages where there are any.

    A checkpoint from before there were averages ships what training carries.
    """
    return {
        path: arrays.get(f"{SHIPPED}{path}", arrays.get(f"ema/{path}", own))
        for path, own in raw_weights(arrays).items()
    }


def weights_sha256(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over path, dtype, shape and bytes of each weight, in order."""
    digest = hashlib.sha256()
    for path, array in weights.items():
        digest.update(f"{path}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
