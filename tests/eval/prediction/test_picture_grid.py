"""PictureGrid: few files of many, from the first to the last."""

import io

import numpy as np
from PIL import Image

from eval.prediction import picture_grid
from eval.prediction.image_classifier import FilePrediction
from eval.prediction.picture_grid import PictureGrid

NAMES = ("cat", "$dog$", "狐")


def grid_of(count: int, side: int = 8, channels: int = 3) -> PictureGrid:
    grid = PictureGrid()
    for n in range(count):
        pixels = np.full((side, 2 * side, channels), n % 256, np.uint8)
        row = np.eye(3)[n % 3] * 0.9
        grid.add(FilePrediction(f"{n}.png", NAMES[0] if n % 2 else None, pixels, row))
    return grid


def test_few_files_are_kept_from_all_places():
    for count in (1, 64, 65, 1000, 12345):
        grid = grid_of(count)
        assert min(count, 32) <= len(grid._kept) <= picture_grid.MOST
        assert (len(grid._kept) - 1) * grid._stride >= 0.9 * (count - 1)


def test_pixels_that_are_kept_are_small():
    grid = grid_of(3, side=500)
    assert all(max(image.shape) <= picture_grid.SIDE for image, *_ in grid._kept)


def test_a_png_is_written(tmp_path):
    for channels in (1, 3):
        path = tmp_path / f"{channels}.png"
        grid_of(20, channels=channels).save(path, NAMES)
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            assert image.format == "PNG" and image.width > 500
    PictureGrid().save(tmp_path / "none.png", NAMES)
    assert not (tmp_path / "none.png").exists()
