"""Rows and views of images that are copied slice by slice."""

import numpy as np
import pytest

from trainer.config.enums import EvalTta
from trainer.config.schema import ModelConfig
from trainer.data.split import ImageRows
from trainer.models import evaluator
from trainer.models.evaluator import Evaluator

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8)
ROWS = np.array([3, 29, 0, 7, 8, 8, 21])


def test_slices_are_those_of_the_copied_rows():
    rows, copied = ImageRows(IMAGES, ROWS), IMAGES[ROWS]
    assert (len(rows), rows.shape) == (len(copied), copied.shape)
    for part in (slice(None), slice(2, 5), slice(5, 99)):
        np.testing.assert_array_equal(rows[part], copied[part])


@pytest.mark.parametrize("tta", list(EvalTta))
def test_views_of_rows_are_those_of_the_copied_rows(tta):
    lazy = evaluator.views(ImageRows(IMAGES, ROWS), tta)
    for (_, one), (_, other) in zip(
        lazy, evaluator.views(IMAGES[ROWS], tta), strict=True
    ):
        assert not isinstance(one, np.ndarray)
        np.testing.assert_array_equal(one[1:4], other[1:4])


def test_an_evaluation_of_rows_is_that_of_the_copied_rows():
    model = ModelConfig(name="cnn", kwargs={"width": 1 / 16})
    made = Evaluator(
        model, image_shape=(16, 16, 3), num_classes=3, tta=EvalTta.FLIP_SHIFT
    )
    found = made.logits(ImageRows(IMAGES, ROWS))
    np.testing.assert_array_equal(found, made.logits(IMAGES[ROWS]))
