"""Random images, as their content does not affect the speed."""

import numpy as np

CLASSES = 10


def examples(count: int, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Draws uint8 [count, side, side, 3] and int64 labels [count], always the same.

    By default the images have the shape of CIFAR-10's.
    """
    drawn = np.random.default_rng(0)
    images = drawn.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return images, drawn.integers(0, CLASSES, count)
