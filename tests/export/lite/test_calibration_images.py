"""Calibration images: of the training rows, of every class, the same every time."""

import dataclasses
import hashlib

import numpy as np
import pytest

from export.lite.calibration_images import CalibrationImages, stratify
from trainer.data import sampler
from trainer.data.split import Split
from trainer.errors import InvalidInput

RNG = np.random.default_rng(0)
LABELS = np.sort(RNG.integers(0, 5, 400)).astype(np.int32)
SPLIT = Split(
    images=RNG.integers(3, 250, (400, 4, 4, 3), dtype=np.uint8),
    labels=LABELS,
    ids=tuple(f"train_{n}" for n in range(400)),
    names=tuple("abcde"),
    sha256="of the split",
)
TEST = Split(
    images=RNG.integers(0, 256, (100, 4, 4, 3), dtype=np.uint8),
    labels=np.zeros(100, np.int32),
    ids=tuple(f"test_{n}" for n in range(100)),
    names=tuple("abcde"),
    sha256="of the test split",
)


def mixed(rows: int, alike: bool = True, named: bool = False) -> Split:
    """SPLIT, but its first `rows` images are images of TEST, or have their ids."""
    images, ids = SPLIT.images.copy(), list(SPLIT.ids)
    if alike:
        images[:rows] = TEST.images[:rows]
    if alike and named:  # another codec
        images[:rows] ^= 3
    if named:
        ids[:rows] = TEST.ids[:rows]
    return dataclasses.replace(SPLIT, images=images, ids=tuple(ids))


@pytest.mark.parametrize("named", [False, True])
def test_a_split_that_holds_test_images_is_refused(named):
    for rows in (5, 50, 100):
        with pytest.raises(
            InvalidInput, match=f"{rows} of the 400 training images are"
        ):
            CalibrationImages.select(
                mixed(rows, named=named), TEST, validation_fraction=0
            )
    with pytest.raises(InvalidInput, match="100 of the 100 training"):
        CalibrationImages.select(TEST, TEST, validation_fraction=0)


@pytest.mark.parametrize("named", [False, True])
def test_a_few_equal_images_are_left_out(named):
    made = CalibrationImages.select(mixed(4, named=named), TEST, validation_fraction=0)
    assert len(made.images) == 396
    assert not {i.tobytes() for i in made.images} & {i.tobytes() for i in TEST.images}


def test_ids_that_begin_anew_in_each_split_are_no_sign():
    split = mixed(100, alike=False, named=True)
    assert (
        len(CalibrationImages.select(split, TEST, validation_fraction=0).images) == 400
    )


@pytest.mark.parametrize("count", [5, 37, 100, 399])
def test_classes_differ_by_at_most_one_while_they_last(count):
    rows = stratify(LABELS, np.arange(400), count)
    per_class = np.bincount(LABELS[rows], minlength=5)
    exhausted = per_class == np.bincount(LABELS)
    assert len(set(rows)) == len(rows) == count
    assert np.ptp(per_class[~exhausted]) <= 1 if not exhausted.all() else True


def test_few_rows_are_all_taken():
    assert sorted(stratify(LABELS, np.arange(10, 20), 500)) == list(range(10, 20))


def test_validation_rows_are_left_out_and_ids_are_hashed():
    made = CalibrationImages.select(SPLIT, TEST, validation_fraction=0.2, count=50)
    learnt, held = sampler.validation_split(LABELS, 0.2)
    rows = stratify(LABELS, learnt, 50)
    assert not set(rows) & set(held)
    ids = "\0".join(SPLIT.ids[row] for row in rows)
    assert made.ids_sha256 == hashlib.sha256(ids.encode()).hexdigest()
    assert made.facts()["train_sha256"] == SPLIT.sha256


def test_the_whole_range_of_a_pixel_is_there_and_the_split_untouched():
    before = SPLIT.images.copy()
    values = np.concatenate(
        [
            v
            for (v,) in CalibrationImages.select(
                SPLIT, TEST, validation_fraction=0
            ).normalised()
        ]
    )
    assert values.min() == -1 and values.max() == 127 / 128
    np.testing.assert_array_equal(SPLIT.images, before)
