"""Selects the weights among the arrays of a checkpoint, and hashes them."""

import hashlib
from collections.abc import Mapping

import numpy as np

SHIPPED = "shipped/"  # prefix of an average, before the path of its weight


def raw_weights(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Selects the model's own variables by path, in model order."""
    prefix = "model/"
    return {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}


def eval_weights(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Selects the weights that are evaluated and exported: averages if there are any.

    Older checkpoints have no averages, or call them "ema/".
    """
    return {
        path: arrays.get(f"{SHIPPED}{path}", arrays.get(f"ema/{path}", own))
        for path, own in raw_weights(arrays).items()
    }


def weights_sha256(weights: Mapping[str, np.ndarray]) -> str:
    """Computes the SHA-256 of path, dtype, shape and bytes of each weight, in order."""
    digest = hashlib.sha256()
    for path, array in weights.items():
        digest.update(f"{path}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
