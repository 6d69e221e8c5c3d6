"""Laws of the step hold for a network that rounds: bits, replicas, shards, resume."""

import dataclasses
import functools

import numpy as np
import pytest

from tests.support.compiled_steps import (
    BLOCK,
    COUNT,
    assemble,
    config,
    fingerprint,
    run,
    trace_step,
)
from tests.support.executed_graphs import executed_graphs, unordered_reads
from tests.support.gpu_kernels import without_gpu_kernel
from trainer.config.enums import Augment, Precision
from trainer.data.sampler import Sampler
from trainer.models.quantization import rewriting

ROUNDED = dataclasses.replace(BLOCK, qat=True)
ELASTIC = config(ROUNDED, elastic_shards=4)
HALF = config(
    ROUNDED,
    precision=Precision.MIXED_BFLOAT16,
    augment=Augment.NONE,
    learning_rate=3e-3,
)


def test_steps_per_call_do_not_change_a_bit(replicas):
    settings = config(ROUNDED)
    seen = {fingerprint(run(replicas(1), settings, 8, k)[0]) for k in (1, 8)}
    assert len(seen) == 1


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "settings",
    [
        config(ROUNDED, augment=Augment.NONE),
        pytest.param(config(ROUNDED), marks=pytest.mark.slow),
        pytest.param(ELASTIC, marks=pytest.mark.slow),
        pytest.param(config(BLOCK), marks=pytest.mark.slow),
    ],
    ids=["plain", "augmented", "shards", "not rounded"],
)
def test_no_variable_is_moved_before_it_was_read(replicas, settings, count):
    """In the executed graph: as traced, the order stands there, and is lost."""
    traced = functools.cache(trace_step.__wrapped__)  # executed for the first time
    graphs = executed_graphs(lambda: run(replicas(count), settings, 1, 1, traced))
    written = [g for g in graphs if any(n.op == "AssignVariableOp" for n in g.node)]
    assert written
    for graph in written:
        assert not unordered_reads(graph)


def test_a_resumed_training_ends_in_the_bits_of_one_that_was_not_stopped(replicas):
    settings = config(ROUNDED)
    whole, _ = run(replicas(1), settings, 8, 4)
    cut, _ = run(replicas(1), settings, 4, 4)
    kept = {name: array.copy() for name, array in cut.arrays().items()}
    assert any(name.endswith("_range/maximum") for name in kept)
    state, trainer = assemble(replicas(1), settings)
    for name, variable in state.variables().items():
        variable.assign(kept[name])
    rows = Sampler(np.arange(COUNT), global_batch=settings.global_batch, seed=0)
    with trainer.pixels.reading(rows.block, 4, 8):
        trainer(4, rows.block(4, 4), np.full(4, settings.optim.learning_rate, "f4"))
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(state.arrays()[name], array, err_msg=name)


def test_two_replicas_see_the_ranges_and_losses_of_one_in_float64(replicas):
    settings = config(ROUNDED, precision=Precision.FLOAT64)
    first, losses = run(replicas(1), settings, 10)
    other, shared = run(replicas(2), settings, 10)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-6)
    for one, two in zip(ranges(first), ranges(other), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-6)


def ranges(state) -> np.ndarray:
    body = state.model.get_layer("body")
    return np.array([v.numpy() for x in rewriting.ranges(body) for v in x.moving])


def test_shards_give_the_same_bits_on_any_number_of_replicas(replicas):
    state, _ = run(replicas(1), ELASTIC, 5)
    other, _ = run(replicas(2), ELASTIC, 5)
    for name, array in state.arrays().items():  # ranges, slots and averages, too
        np.testing.assert_array_equal(other.arrays()[name], array, err_msg=name)


def test_half_precision_learns_from_random_weights(replicas):
    state, metrics = run(replicas(1), HALF, 60, 20)
    assert metrics[-10:, 0].mean() < 0.9 * metrics[:10, 0].mean()
    assert (ranges(state).reshape(-1, 2)[1:] != (0, 1)).all(axis=0).any()


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (ELASTIC, 2),  # both are traced for other laws, too
        (HALF, 1),
        pytest.param(config(ROUNDED), 2, marks=pytest.mark.slow),
        pytest.param(
            config(ROUNDED, precision=Precision.MIXED_FLOAT16),
            2,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["shards", "bfloat16", "float32", "float16"],
)
def test_every_operator_has_a_gpu_kernel(replicas, settings, count):
    _, trainer = assemble(replicas(count), settings)
    assert not without_gpu_kernel(trainer.graph)
