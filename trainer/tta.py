"""Test-time augmentation: views of an image, and how much the answer to each counts.

Mirroring, and the six views of airbench94's "multi-crop" evaluation: Jordan 2024, "94%
on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498, section 3.5. What ships
answers one view; a number that comes from more has to say so.
"""

from collections.abc import Callable, Iterator

import numpy as np

from trainer.choices import EvalTta

# Pixels down and to the right, and the share of the image that is moved so.
_SHARES = {
    EvalTta.NONE: {0: 1.0},
    EvalTta.FLIP: {0: 1.0},
    EvalTta.FLIP_SHIFT: {0: 0.5, -1: 0.25, 1: 0.25},
}


def count(tta: EvalTta) -> int:
    """How many views there are of an image."""
    return len(_SHARES[tta]) * (1 if tta is EvalTta.NONE else 2)


def views(images: np.ndarray, tta: EvalTta) -> Iterator[tuple[float, np.ndarray]]:
    """Weight and view, one after the other, of `images` [N, H, W, C].

    The first view is the images themselves; the weights add up to 1.
    """
    for pixels, share in _SHARES[tta].items():
        moved = _moved(images, pixels) if pixels else images
        if tta is EvalTta.NONE:
            yield share, moved
        else:
            yield share / 2, moved
            yield share / 2, np.ascontiguousarray(moved[:, :, ::-1])


def _moved(images: np.ndarray, pixels: int) -> np.ndarray:
    """`images` one pixel down and right (1) or up and left (-1), edges reflected."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    start = 1 - pixels
    return padded[:, start : start + height, start : start + width]


def mean(
    answer: Callable[[np.ndarray], np.ndarray], images: np.ndarray, tta: EvalTta
) -> np.ndarray:
    """Weighted mean of the answers [N, K] to all views, in the dtype of the answers.

    It is summed in float64: the weights are powers of two, so answers in float32 that
    do not feel the view come back as they are.
    """
    if tta is EvalTta.NONE:
        return answer(images)
    total: np.ndarray | float = 0.0
    for weight, view in views(images, tta):
        answers = answer(view)
        total = total + weight * answers.astype(np.float64)
    return total.astype(answers.dtype)
