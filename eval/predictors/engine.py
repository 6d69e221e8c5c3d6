"""Engines: describes the runtime that computes a model."""

import enum
import importlib.metadata
from collections.abc import Sequence
from typing import Any

from trainer import system


class Kernels(enum.Enum):
    """Kernels that LiteRT runs a `.tflite` with; they round differently."""

    XNNPACK = "xnnpack"  # the default delegate, for all operators that it supports
    BUILTIN = "builtin"  # optimised kernels without a delegate
    REFERENCE = "reference"  # those of TensorFlow Lite Micro


class LiteRtApi(enum.Enum):
    """LiteRT's programming interfaces, which run the same kernels."""

    INTERPRETER = "interpreter"
    COMPILED = "compiled"  # CompiledModel, which is to succeed the interpreter


def describe_tensorflow() -> dict[str, Any]:
    """Describes TensorFlow in this process, which runs checkpoints and SavedModels."""
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    return {
        "name": "TensorFlow",
        "version": importlib.metadata.version("tensorflow"),
        "delegate": None,
        "device": "GPU" if gpus else "CPU",
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or cores(),
    }


def describe_litert(
    kernels: Kernels,
    operators: Sequence[str],
    api: LiteRtApi = LiteRtApi.INTERPRETER,
) -> dict[str, Any]:
    """Describes LiteRT; `operators` are those of a model that is ready to run."""
    named = {"api": "CompiledModel"} if api is LiteRtApi.COMPILED else {}
    return {
        "name": "LiteRT",
        "version": importlib.metadata.version("ai-edge-litert"),
        "kernels": kernels.value,
        "delegate": "XNNPACK" if "DELEGATE" in operators else None,
        "device": "CPU",
        "threads": 1,  # per interpreter; there is one interpreter for each core
        **named,
    }


def format_engine(engine: dict[str, Any]) -> str:
    """Formats a description of an engine for a terminal or a page."""
    parts = [f"{engine['name']} {engine['version']}"]
    if "api" in engine:
        parts.append(engine["api"])
    if "kernels" in engine:
        parts.append(f"{engine['kernels']} kernels")
    if engine["delegate"]:
        parts.append(f"delegate {engine['delegate']}")
    count = engine["threads"]
    parts += [engine["device"], f"{count} thread{'s' if count != 1 else ''}"]
    return ", ".join(parts)


def cores() -> int:
    """Number of cores of this process, or the quota of its container if lower."""
    return system.threads()
