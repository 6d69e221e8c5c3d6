"""--class_weight: the law of the weights, and that all replicas keep it."""

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.support.compiled_steps import LABELS, assemble, config, fingerprint, run
from trainer.config.enums import Augment, Precision
from trainer.errors import InvalidInput
from trainer.optim.class_weights import class_weights


@hypothesis.given(
    counts=st.lists(st.integers(1, 300), min_size=2, max_size=8),
    power=st.floats(0.01, 1),
)
def test_weights_have_mean_1_and_follow_the_inverse_frequency(counts, power):
    labels = np.repeat(np.arange(len(counts)), counts)
    weights = class_weights(labels, [str(n) for n in range(len(counts))], power)
    assert weights[labels].mean() == pytest.approx(1)
    ratios = (np.array(counts) / counts[0]) ** -power
    np.testing.assert_allclose(weights / weights[0], ratios)


def test_power_1_gives_every_class_the_same_sum():
    labels = np.repeat([0, 1, 2], [90, 9, 1])
    weights = class_weights(labels, "abc", 1.0)
    sums = np.bincount(labels, weights=weights[labels])
    np.testing.assert_allclose(sums, 100 / 3)


def test_power_0_is_none():
    assert class_weights(np.zeros(3, int), "ab", 0.0) is None


def test_a_class_without_rows_is_named():
    with pytest.raises(InvalidInput, match="class_weight=0.5.*'b'.*no training rows"):
        class_weights(np.array([0, 2]), "abc", 0.5)


def test_the_first_loss_is_the_weighted_mean(replicas):
    plain = config(precision=Precision.FLOAT64, augment=Augment.NONE)
    optim = dataclasses.replace(plain.optim, class_weight=1.0)
    weighted = dataclasses.replace(plain, optim=optim)
    rates = np.zeros(1, np.float32)
    weights, losses = class_weights(LABELS, range(10), 1.0), []
    for label in range(10):  # a batch of one class: its losses are scaled alike
        rows = np.resize(np.flatnonzero(label == LABELS), (1, 32)).astype(np.int32)
        losses.append(
            [
                assemble(replicas(1), each)[1](0, rows, rates).metrics[0, 0]
                for each in (plain, weighted)
            ]
        )
    losses = np.array(losses)
    np.testing.assert_allclose(losses[:, 1], losses[:, 0] * weights, rtol=1e-12)


@pytest.mark.parametrize("count", [4, pytest.param(None, marks=pytest.mark.slow)])
def test_replicas_and_shards_keep_the_weights(replicas, count):
    settings = config(precision=Precision.FLOAT64, class_weight=0.7)
    _, losses = run(replicas(1), settings, 6)
    shards = dataclasses.replace(settings, elastic_shards=count)
    _, shared = run(replicas(2), shards, 6)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_shards_of_weighted_classes_give_the_same_bits(replicas):
    elastic = config(class_weight=0.7, elastic_shards=4)
    one, two = (fingerprint(run(replicas(n), elastic, 6)[0]) for n in (1, 2))
    assert one == two
