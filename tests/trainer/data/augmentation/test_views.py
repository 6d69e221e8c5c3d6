"""Views are numbered as augmentation draws them, and there are no others."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.config.enums import Augment
from trainer.config.schema import DataConfig
from trainer.data.augmentation.pipeline import augment
from trainer.data.augmentation.views import AugmentationIndex
from trainer.rng import RandomStream

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 12, 10, 3), np.uint8)
COUNTABLE = [how for how in Augment if how.countable]


@pytest.mark.parametrize("how", COUNTABLE)
@pytest.mark.parametrize("pixels", [0, 1, 4])
def test_the_view_drawn_is_what_augmentation_shows(how, pixels):
    views, seen = AugmentationIndex(how, pixels), set()
    given = {"crop_pixels": pixels} if how.crops else {}
    data = DataConfig(augment=how, **given)
    for step in range(5):
        here = RandomStream(3, tf.constant(step, tf.int64), tf.constant(64, tf.int64))
        varied = augment(tf.constant(IMAGES), data, here)
        drawn = views.sample_views(here, len(IMAGES)).numpy()
        for image, view, shown in zip(IMAGES, drawn, varied.numpy(), strict=True):
            np.testing.assert_array_equal(views.render(image[None], view)[0], shown)
        seen |= set(drawn)
    assert seen <= set(range(views.count))
    if views.count <= 18:  # of 320 draws
        assert len(seen) == views.count


def test_views_differ_and_are_as_many_as_flips_times_shifts():
    views = AugmentationIndex(Augment.FLIP_CROP, 1)
    shown = {views.render(IMAGES[:1], view).tobytes() for view in range(views.count)}
    assert len(shown) == views.count == 18
    assert AugmentationIndex(Augment.FLIP_CROP, 4).count == 162
    assert AugmentationIndex(Augment.CROP, 1).count == 9
    assert AugmentationIndex(Augment.FLIP, 4).count == 2
    assert AugmentationIndex(Augment.NONE, 4).count == 1


def test_replicas_draw_the_views_that_one_would():
    views = AugmentationIndex(Augment.FLIP_CROP, 2)
    step = tf.constant(7, tf.int64)
    whole = views.sample_views(RandomStream(0, step, tf.constant(0, tf.int64)), 64)
    parts = [
        views.sample_views(RandomStream(0, step, tf.constant(first, tf.int64)), 16)
        for first in range(0, 64, 16)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_what_has_no_finite_number_of_views_is_not_counted():
    uncounted = set(Augment) - set(COUNTABLE)
    assert {how.value for how in uncounted} == {
        "flip_crop_cutout",
        "resized_crop",
        "flip_resized_crop",
    }
    for how in uncounted:
        with pytest.raises(ValueError, match="no finite number of views"):
            AugmentationIndex(how, 4)
