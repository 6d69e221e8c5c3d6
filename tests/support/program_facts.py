"""Manifests for programs that use exported files, and names that are hard to write."""

import numpy as np

from export.examples.program_facts import ProgramFacts

ODD_NAMES = [
    'a "b"',
    "it's",
    "c\nd",
    "back\\slash ??/",
    "*/ /* // # \"\"\" '''",
    "$y ${z} $(ls) `ls` \\(x)",
    "%s %d",
    "日本",
    "👩\u200d🔬😀",
    "\u202ereversed\x1b[31m\0",
    "@model",
]


def manifest(**changes: object) -> dict:
    """The fields of a manifest that programs are made from, with `changes`."""
    return {
        "labels": ODD_NAMES,
        "image_shape": [8, 12, 3],
        "preprocessing": {"resize": "crop"},
        "io": {"input": "uint8", "output": "float32", "output_scale": 0.0},
        "config": {"model": {"name": "cnn"}},
        "data": "odd */ data\nset",
        "scheme": "int8",
        "weights_sha256": "0123456789abcdef",
        "test": {
            "accuracy": 0.5,
            "accuracy_interval": [0.4, 0.6],
            "images": 60,
            "split": "test",
        },
    } | changes


def facts(**changes: object) -> ProgramFacts:
    """What programs know of the model of `manifest`."""
    return ProgramFacts.from_manifest(manifest(**changes))


def sample_image() -> np.ndarray:
    """An image of the shape of `manifest`."""
    return np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)


def in_words(manifest, probabilities: np.ndarray) -> str:
    """What programs beside the artifact of `manifest` say of an image."""
    names, order = manifest["labels"], np.argsort(-probabilities, kind="stable")[:3]
    threshold = manifest["abstain"]["0.95"]["threshold"] or 0
    shown, best = [names[k] for k in order], names[order[0]]
    answered = probabilities.max() >= threshold
    shown[0] = best if answered else "unknown"
    words = [
        f"{name} {100 * probabilities[k]:.1f} %"
        for name, k in zip(shown, order, strict=True)
    ]
    return "   ".join(words) + ("" if answered else f"  perhaps {best}")
