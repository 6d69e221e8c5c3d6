"""Data sets in memory, augmentation, the order of examples, copies on devices."""

import importlib
from typing import Any

_EXPORTS = {
    "from_arrays": "trainer.data.sources.arrays_source",
    "from_files": "trainer.data.loading",
    "from_tfds": "trainer.data.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'trainer.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
