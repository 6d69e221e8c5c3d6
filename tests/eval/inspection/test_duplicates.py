"""Duplicates: every copy is found, however it was encoded, and nothing else."""

import io

import numpy as np
import pytest
from PIL import Image

from eval.inspection import duplicates
from eval.inspection.image_facts import measure_file, measure_pixels

GENERATOR = np.random.default_rng(0)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradients(height: int, width: int) -> np.ndarray:
    corners = GENERATOR.integers(0, 256, (5, 5, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(corners).resize((width, height), 3), float)
    noisy = smooth + GENERATOR.normal(0, 10, (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


PICTURES = {
    "noise": lambda: GENERATOR.integers(0, 256, (32, 32, 3), np.uint8),
    "fine noise": lambda: GENERATOR.integers(0, 256, (160, 200, 3), np.uint8),
    "gradients": lambda: gradients(90, 120),
    "grey": lambda: np.repeat(gradients(64, 64)[..., :1], 3, 2),
}
COPIES = {
    "JPEG": lambda image: encode(image, "JPEG", quality=75),
    "poor JPEG": lambda image: encode(image, "JPEG", quality=50),
    "PNG": lambda image: encode(image, "PNG"),
    "WebP": lambda image: encode(image, "WEBP", quality=75),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_every_copy_is_near_its_picture_and_to_no_other(kind):
    pictures = [Image.fromarray(PICTURES[kind]()) for _ in range(25)]
    contents = [encode(image, "BMP") for image in pictures]
    for copy in COPIES.values():
        contents += [copy(image) for image in pictures]
    found = [measure_file(content, "a.x").signature for content in contents]
    groups = duplicates.group_near(np.stack(found))
    expected = [list(range(n, len(contents), 25)) for n in range(25)]
    assert sorted(map(sorted, groups)) == expected


def test_a_copy_of_half_the_size_is_near():
    pictures = [Image.fromarray(gradients(90, 120)) for _ in range(20)]
    halves = [image.resize((60, 45)) for image in pictures]
    found = [measure_file(encode(image, "PNG"), "a.png") for image in pictures + halves]
    groups = duplicates.group_near(np.stack([one.signature for one in found]))
    assert sorted(map(sorted, groups)) == [[n, n + 20] for n in range(20)]


def test_no_pair_is_missed_by_comparing_few(monkeypatch):
    centres = GENERATOR.uniform(0, 255, (40, 288))
    rows = np.repeat(centres, 5, 0) + GENERATOR.normal(0, 5, (200, 288))
    rows = rows.astype(np.float32)
    whole = pairs_of(rows)
    monkeypatch.setattr(duplicates, "_BLOCK", (7, 5))
    assert pairs_of(rows) == whole
    assert len(whole) == 40 * 10


def pairs_of(rows) -> set[tuple[int, int]]:
    found = [
        tuple(sorted(p)) for some in duplicates.find_near_pairs(rows) for p in some
    ]
    assert len(set(found)) == len(found)
    return set(found)


def test_thousands_of_pictures_that_are_all_alike_are_one_group():
    rows = np.full((6000, 288), 30) + GENERATOR.normal(0, 0.1, (6000, 288))
    assert len(duplicates.group_near(rows.astype(np.float32))) == 1


def test_a_brighter_picture_of_another_colour_is_no_copy():
    grey = measure_pixels(np.full((20, 20, 3), 100, np.uint8))
    red = measure_pixels(np.full((20, 20, 3), (120, 80, 100), np.uint8))
    light = measure_pixels(np.full((20, 20, 3), 110, np.uint8))
    found = [one.signature for one in (grey, red, light)]
    assert duplicates.group_near(np.stack(found)) == []


def test_few_rows_have_no_pairs():
    for count in (0, 1):
        assert duplicates.group_near(np.zeros((count, 288), np.float32)) == []
    assert duplicates.group_equal(["a", None, "b", None, "a"]) == [[0, 4]]
