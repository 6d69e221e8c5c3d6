"""Calibration images: of the training rows, of every class, the same every time."""

import hashlib

import numpy as np
import pytest

from export.representative import Representative, stratified
from trainer import sampler
from trainer.datasets import Split

RNG = np.random.default_rng(0)
LABELS = np.sort(RNG.integers(0, 5, 400)).astype(np.int32)
SPLIT = Split(
    images=RNG.integers(3, 250, (400, 4, 4, 3), dtype=np.uint8),
    labels=LABELS,
    ids=tuple(f"train_{n}" for n in range(400)),
    names=tuple("abcde"),
    sha256="of the split",
)


@pytest.mark.parametrize("count", [5, 37, 100, 399])
def test_classes_differ_by_at_most_one_while_they_last(count):
    rows = stratified(LABELS, np.arange(400), count)
    per_class = np.bincount(LABELS[rows], minlength=5)
    exhausted = per_class == np.bincount(LABELS)
    assert len(set(rows)) == len(rows) == count
    assert np.ptp(per_class[~exhausted]) <= 1 if not exhausted.all() else True


def test_few_rows_are_all_taken():
    assert sorted(stratified(LABELS, np.arange(10, 20), 500)) == list(range(10, 20))


def test_validation_rows_are_left_out_and_ids_are_hashed():
    made = Representative.of(SPLIT, validation_fraction=0.2, count=50)
    learnt, held = sampler.validation_split(LABELS, 0.2)
    rows = stratified(LABELS, learnt, 50)
    assert not set(rows) & set(held)
    ids = "\0".join(SPLIT.ids[row] for row in rows)
    assert made.ids_sha256 == hashlib.sha256(ids.encode()).hexdigest()
    assert made.facts()["train_sha256"] == SPLIT.sha256


def test_the_whole_range_of_a_pixel_is_there_and_the_split_untouched():
    before = SPLIT.images.copy()
    values = np.concatenate(
        [v for (v,) in Representative.of(SPLIT, validation_fraction=0).normalised()]
    )
    assert values.min() == -1 and values.max() == 127 / 128
    np.testing.assert_array_equal(SPLIT.images, before)
