"""Augmentation is a function of (seed, step, position), and does what its name says."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.config.enums import Augment
from trainer.config.schema import DataConfig
from trainer.data.augmentation.crops import GREY
from trainer.data.augmentation.pipeline import augment
from trainer.rng import RandomStream

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 12, 10, 3), np.uint8)


def varied(how: Augment, images=IMAGES, *, seed=0, step=0, first=0) -> np.ndarray:
    here = RandomStream(seed, tf.constant(step, tf.int64), tf.constant(first, tf.int64))
    return augment(tf.constant(images), DataConfig(augment=how), here).numpy()


def test_none_changes_nothing():
    np.testing.assert_array_equal(varied(Augment.NONE), IMAGES.astype(np.float32))


def test_flip_mirrors_about_half_of_the_images():
    flipped = varied(Augment.FLIP)
    same = (flipped == IMAGES).all(axis=(1, 2, 3))
    mirrored = (flipped == IMAGES[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


@pytest.mark.parametrize("how", [Augment.CROP, Augment.FLIP_CROP])
def test_crop_is_a_window_of_the_reflected_image(how):
    padded = np.pad(IMAGES, [(0, 0), (4, 4), (4, 4), (0, 0)], mode="reflect")
    seen = set()
    for image, source in zip(varied(how), padded, strict=True):
        sides = [source, source[:, ::-1]] if how is Augment.FLIP_CROP else [source]
        found = [
            (y, x)
            for side in sides
            for y in range(9)
            for x in range(9)
            if np.array_equal(side[y : y + 12, x : x + 10], image)
        ]
        assert found
        seen.update(found)
    assert len(seen) > 20


def test_cutout_greys_one_square_of_the_crop():
    cut, plain = varied(Augment.FLIP_CROP_CUTOUT), varied(Augment.FLIP_CROP)
    holes = (cut != plain).any(axis=3)
    assert (cut[holes] == GREY).all()
    assert (holes.sum(axis=(1, 2)) <= 3 * 2).all()
    assert holes.any(axis=(1, 2)).mean() > 0.9


@pytest.mark.parametrize("how", list(Augment))
def test_replicas_vary_their_rows_as_one_would(how):
    whole = varied(how, step=5)
    for count in (2, 4, 8):
        share = len(IMAGES) // count
        parts = [
            varied(how, IMAGES[f : f + share], step=5, first=f)
            for f in range(0, len(IMAGES), share)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_steps_and_seeds_differ():
    first = varied(Augment.FLIP_CROP)
    assert (varied(Augment.FLIP_CROP, step=1) != first).any()
    assert (varied(Augment.FLIP_CROP, seed=1) != first).any()


def test_images_smaller_than_the_shift_are_allowed():
    small = IMAGES[:, :2, :2]
    assert varied(Augment.FLIP_CROP_CUTOUT, small).shape == small.shape
