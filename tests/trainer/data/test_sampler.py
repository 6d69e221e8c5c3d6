"""The order of rows is a function of (seed, step), and every epoch a permutation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.sampler import Sampler, validation_split


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(1, 60),
    batch=st.integers(1, 150),
    seed=st.integers(0, 2**31 - 1),
    epochs=st.integers(1, 4),
)
def test_every_epoch_holds_every_row_once(count, batch, seed, epochs):
    rows = np.arange(100, 100 + count, dtype=np.int32)
    sampler = Sampler(rows, global_batch=batch, seed=seed)
    steps = -(-epochs * count // batch)
    stream = sampler.block(0, steps).ravel()
    for epoch in range(epochs):
        part = stream[epoch * count : (epoch + 1) * count]
        np.testing.assert_array_equal(np.sort(part), rows)


def test_a_batch_depends_on_its_step_alone():
    rows = np.arange(50, dtype=np.int32)
    forward = [Sampler(rows, global_batch=7, seed=3).rows(s) for s in range(40)]
    sampler = Sampler(rows, global_batch=7, seed=3)
    for step in reversed(range(40)):
        np.testing.assert_array_equal(sampler.rows(step), forward[step])


def test_seeds_and_epochs_are_shuffled_differently():
    rows = np.arange(1000, dtype=np.int32)
    first = Sampler(rows, global_batch=1000, seed=1)
    second = Sampler(rows, global_batch=1000, seed=2)
    assert (first.rows(0) != second.rows(0)).mean() > 0.9
    assert (first.rows(0) != first.rows(1)).mean() > 0.9
    assert first.rows(0).dtype == np.int32


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5])
def test_the_split_is_stratified_disjoint_and_complete(fraction):
    labels = np.random.default_rng(0).integers(0, 7, 997).astype(np.int32)
    learnt, held = validation_split(labels, fraction)
    np.testing.assert_array_equal(np.sort(np.r_[learnt, held]), np.arange(997))
    for label in range(7):
        members = (labels == label).sum()
        assert (labels[held] == label).sum() == round(fraction * members)
    again = validation_split(labels, fraction)
    np.testing.assert_array_equal(again[1], held)
