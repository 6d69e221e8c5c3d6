"""Frozen and slowed layers in the compiled step: bits, replicas, shards, calls."""

import dataclasses

import numpy as np
import pytest

from tests.support.compiled_steps import (
    BLOCK,
    COUNT,
    IMAGES,
    PLAIN,
    assemble,
    config,
    fingerprint,
    run,
    small_networks,
)
from trainer.config.enums import OptimizerName, Precision
from trainer.config.schema import Config
from trainer.data.sampler import Sampler
from trainer.models import builder
from trainer.optim import optimizers
from trainer.pretrained import freezing

UNTIL = 3  # steps
HEAD = "classes/"
# Frozen at first has all that frozen always has, and the moment when it ends.
ALWAYS = pytest.param(None, id="always", marks=pytest.mark.slow)
AT_FIRST = pytest.param(UNTIL, id="at first")


def tuned(model=BLOCK, *, freeze="backbone", until=UNTIL, factor=1.0, **more) -> Config:
    """A config that freezes layers in the first `until` steps; None: always."""
    epoch = None if until is None else until * 32 / COUNT
    network = dataclasses.replace(model, freeze=freeze, unfreeze_epoch=epoch)
    found = config(network, clip_norm=None, **more)
    optim = dataclasses.replace(found.optim, backbone_lr_multiplier=factor)
    return dataclasses.replace(found, optim=optim)


def values(state) -> dict[str, np.ndarray]:
    """Weights, statistics and averages, without the optimizer's own numbers."""
    kept = ("model/", "ema/", "shipped/")
    return {k: v for k, v in state.arrays().items() if k.startswith(kept)}


def plain_path(name: str) -> str:
    """The path of the weight in the name of a weight or of one of its averages."""
    return name.partition("/")[2]


def changed(before, after) -> set[str]:
    odd = {name for name in before if not np.array_equal(before[name], after[name])}
    return {plain_path(name).split("/")[0] for name in odd}


@pytest.mark.parametrize("until", [UNTIL, None], ids=["at first", "always"])
def test_frozen_weights_statistics_and_averages_keep_their_bits(replicas, until):
    settings = tuned(until=until)
    first, _ = assemble(replicas(1), settings)
    before = values(first)
    state, _ = run(replicas(1), settings, UNTIL)
    after = values(state)
    # The averages of weights are zeros until the first step.
    kept = {k: v for k, v in before.items() if not k.startswith("ema/")}
    assert changed(kept, after) == {"classes"}
    for name, array in after.items():
        if name.startswith("ema/") and HEAD not in name:
            np.testing.assert_array_equal(array, before[f"model/{plain_path(name)}"])
    later, _ = run(replicas(1), settings, UNTIL + 1)
    moved = changed(kept, values(later))
    layers = {plain_path(name).split("/")[0] for name in kept}
    assert moved == (layers if until else {"classes"})


def test_the_step_after_unfreezing_is_the_first_of_a_new_optimizer(replicas):
    """Adam's first update is the learning rate times the sign of the gradient."""
    settings = tuned(PLAIN, optimizer=OptimizerName.ADAMW, ema_decay=None)
    optim = dataclasses.replace(settings.optim, weight_decay=0.0)
    settings = dataclasses.replace(settings, optim=optim)
    before = values(run(replicas(1), settings, UNTIL)[0])
    after = values(run(replicas(1), settings, UNTIL + 1)[0])
    name = next(name for name in before if name.endswith("conv_1/kernel"))
    moved = np.abs(after[name] - before[name])
    assert np.median(moved) == pytest.approx(settings.optim.learning_rate, rel=0.05)


def factors(name: OptimizerName, model=PLAIN) -> tuple[Config, Config]:
    """A config that slows the backbone to a quarter, and one that does not."""
    part = tuned(model, freeze=None, until=None, factor=0.25, optimizer=name)
    optim = dataclasses.replace(part.optim, ema_decay=None)
    whole = dataclasses.replace(optim, backbone_lr_multiplier=1.0)
    return tuple(dataclasses.replace(part, optim=each) for each in (optim, whole))


def check_quarters(before, slow, fast) -> None:
    """The head moved from `before` as in `fast`, all others by a quarter of that."""
    for weight, value in before.items():
        if "moving" in weight:
            continue
        factor = 1.0 if HEAD in weight else 0.25
        expected = value + factor * (fast[weight] - value)
        np.testing.assert_allclose(slow[weight], expected, rtol=0, atol=1e-6)
        assert (fast[weight] != value).any()


@pytest.mark.parametrize("name", list(OptimizerName))
def test_a_factor_scales_the_update_of_the_backbone_alone(name):
    found, generator = [], np.random.default_rng(0)
    with small_networks():
        body = builder.build_model(
            PLAIN, image_shape=IMAGES.shape[1:], num_classes=10
        ).get_layer("body")
    weights = body.trainable_variables
    before = {weight.path: weight.numpy() for weight in weights}
    gradients = [generator.normal(size=w.shape).astype(np.float32) for w in weights]
    for settings in factors(name):
        for weight in weights:
            weight.assign(before[weight.path])
        rates = freezing.freeze(body, settings, 0)
        optimizer = optimizers.build_optimizer(settings, weights, rates)
        optimizer.apply(gradients, weights)
        found.append({weight.path: weight.numpy() for weight in weights})
    check_quarters(before, *found)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(OptimizerName))
def test_a_step_scales_the_update_of_the_backbone_alone(replicas, name):
    part, whole = factors(name, BLOCK)
    before = values(assemble(replicas(1), part)[0])
    check_quarters(before, *(values(run(replicas(1), c, 1)[0]) for c in (part, whole)))


@pytest.mark.slow  # shards have the same bits on any number of replicas
@pytest.mark.parametrize("until", [UNTIL, None], ids=["at first", "always"])
def test_replicas_compute_the_same_in_float64(replicas, until):
    settings = tuned(PLAIN, until=until, factor=0.5, precision=Precision.FLOAT64)
    one, losses = run(replicas(1), settings, 6)
    two, shared = run(replicas(2), settings, 6)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)
    theirs = two.arrays()
    for name, array in one.arrays().items():
        np.testing.assert_allclose(theirs[name], array, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("until", [AT_FIRST, ALWAYS])
def test_elastic_shards_and_calls_give_equal_bits(replicas, until):
    settings = tuned(until=until, factor=0.5, elastic_shards=4)
    one, measured = run(replicas(1), settings, 6, 6)
    two, theirs = run(replicas(2), settings, 6, 2)
    np.testing.assert_array_equal(theirs, measured)
    assert fingerprint(one) == fingerprint(two)


@pytest.mark.parametrize(
    "precision",
    [
        Precision.MIXED_FLOAT16,
        pytest.param(Precision.MIXED_BFLOAT16, marks=pytest.mark.slow),
    ],
)
def test_mixed_precision_keeps_the_bits_too(replicas, precision):
    settings = tuned(precision=precision)
    before = values(assemble(replicas(1), settings)[0])
    after = values(run(replicas(1), settings, UNTIL)[0])
    kept = {k: v for k, v in before.items() if not k.startswith("ema/")}
    assert changed(kept, after) <= {"classes"}


@pytest.mark.parametrize("shards", [4, pytest.param(None, marks=pytest.mark.slow)])
def test_a_resume_at_any_step_gives_the_bits_of_no_resume(replicas, shards):
    settings = tuned(factor=0.5, elastic_shards=shards)
    whole, _ = run(replicas(2), settings, 6)
    for step in (2, UNTIL, 5):
        cut, _ = run(replicas(2), settings, step)
        arrays, facts = cut.arrays(), cut.facts()
        again, trainer = assemble(replicas(2), settings)
        again.load(arrays, facts)
        rows = Sampler(np.arange(COUNT), global_batch=32, seed=0)
        rates = np.full(6 - step, settings.optim.learning_rate, np.float32)
        again.advance(trainer(step, rows.block(step, 6 - step), rates))
        assert fingerprint(again) == fingerprint(whole)
