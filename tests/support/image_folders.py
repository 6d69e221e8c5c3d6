"""Folders of image files that tests make."""

import pathlib

import numpy as np
from PIL import Image


def write_image(
    path: pathlib.Path, seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB"
) -> pathlib.Path:
    """Writes an image of random pixels; `size` is height and width."""
    shape = (*size, 3) if mode == "RGB" else size
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_classes(
    root: pathlib.Path,
    classes: dict[str, int],
    size: tuple[int, int] = (8, 8),
    mode: str = "RGB",
) -> pathlib.Path:
    """Writes that many PNG files of each class to the folder `root`."""
    seed = 0
    for name, count in classes.items():
        for number in range(count):
            seed += 1
            write_image(root / name / f"{number:03}.png", seed, size, mode)
    return root
