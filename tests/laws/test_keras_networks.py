"""Networks of Keras' own layers are trained as exactly as those of the toolkit."""

import functools
import signal

import numpy as np
import pytest

from tests.support import keras_networks
from tests.support.commands import result, run_trainer
from tests.support.compiled_steps import (
    COUNT,
    IMAGES,
    config,
    fingerprint,
    run,
    trace_step,
)
from tests.support.gpu_kernels import without_gpu_kernel
from tests.support.multi_worker import losses
from tests.support.resumed_runs import EXACT, SAME, assert_equal_runs, interrupt
from trainer.config.enums import Precision
from trainer.config.schema import ModelConfig
from trainer.data.sampler import Sampler
from trainer.models import architecture
from trainer.training.state import TrainState

SMALL = {"side": 32, "width": 0.35, "depth": 0}
NETWORKS = {"sequential": {}, "mobilenet_v2": SMALL}
SHARDS = 2  # of one replica as well, so that one trace is enough for several laws
OR_NONE = [SHARDS, pytest.param(None, marks=pytest.mark.slow)]


@functools.cache
def settings_of(name, precision=Precision.FLOAT32, **words):
    """The settings of a step of a network above."""
    options = {k: v for k, v in words.items() if k == "synchronized"}
    text = architecture.describe(
        getattr(keras_networks, name),
        NETWORKS[name] | options,
        image_shape=IMAGES.shape[1:],
        num_classes=10,
        precision=precision.value,
    )
    others = {k: v for k, v in words.items() if k not in options}
    model = ModelConfig(name=name, architecture=text)
    return config(model, precision=precision, **others)


@pytest.mark.slow  # shards have the same bits on replicas, and so the same masks
def test_replicas_draw_the_same_masks_in_float64(replicas):
    settings = settings_of("sequential", Precision.FLOAT64, synchronized=True)
    first, losses = run(replicas(1), settings, 3, 3)
    state, shared = run(replicas(2), settings, 3, 3)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)
    for one, other in zip(first.model.variables, state.model.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("sequential", Precision.FLOAT32),
        pytest.param("sequential", Precision.MIXED_BFLOAT16, marks=pytest.mark.slow),
        pytest.param("sequential", Precision.MIXED_FLOAT16, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", Precision.FLOAT32, marks=pytest.mark.slow),
    ],
)
def test_shards_give_the_same_bits_on_any_number_of_replicas(replicas, name, precision):
    settings = settings_of(name, precision, elastic_shards=SHARDS)
    state, measured = run(replicas(1), settings, 3, 3)
    other, theirs = run(replicas(2), settings, 3, 3)
    assert fingerprint(other) == fingerprint(state)
    np.testing.assert_array_equal(theirs, measured)
    for name, array in state.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array, err_msg=name)


@pytest.mark.parametrize("shards", OR_NONE)
def test_a_checkpoint_is_all_that_a_step_depends_on(replicas, shards):
    settings = settings_of("sequential", elastic_shards=shards)
    whole = fingerprint(run(replicas(1), settings, 6, 3)[0])
    half, _ = run(replicas(1), settings, 3, 3)
    kept, facts = half.arrays(), half.facts()
    state, trainer, _ = trace_step.__wrapped__(replicas(1), settings)
    state = TrainState(state.model, state.optimizer, trainer.averages)
    state.load(kept, facts)
    rows = Sampler(np.arange(COUNT), global_batch=settings.global_batch, seed=0)
    rates = np.full(3, settings.optim.learning_rate, np.float32)
    state.advance(trainer(3, rows.block(3, 3), rates))
    assert fingerprint(state) == whole


@pytest.mark.parametrize("shards", OR_NONE)
def test_every_operator_of_the_step_has_a_gpu_kernel(replicas, shards):
    settings = settings_of("sequential", elastic_shards=shards)
    _, trainer, _ = trace_step(replicas(1), settings)
    assert not without_gpu_kernel(trainer.graph)


def test_predictions_have_no_noise(replicas):
    settings = settings_of("sequential", elastic_shards=SHARDS)
    state, _, _ = trace_step(replicas(1), settings)
    once, twice = (state.model(IMAGES[:8]).numpy() for _ in range(2))
    np.testing.assert_array_equal(once, twice)


TWO = ["--strategy=mirrored", "--logical_devices=2"]
FORTY = ["--train_steps=40", "--global_batch=8", "--eval_every_epochs=1"]
FORTY += ["--model_kwargs=width=0.35"]
MODELS = [
    ["--model=tests.support.keras_networks:sequential"],
    ["--model=tests.support.keras_networks:mobilenet_v2", *FORTY],
]


@pytest.mark.slow
@pytest.mark.timeout(900)  # mobilenet_v2 takes 234 s where importing TensorFlow takes 8
@pytest.mark.parametrize("words", MODELS, ids=["sequential", "mobilenet_v2"])
def test_killed_and_resumed_equals_never_killed(data_dir, tmp_path, words):
    words = ["--train_steps=48", *words, *TWO]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_trainer(data_dir, whole, *EXACT, *words, check=True)
    assert interrupt(data_dir, cut, signal.SIGKILL, words) == -signal.SIGKILL
    assert not (cut / "result.json").exists()
    run_trainer(data_dir, cut, *EXACT, *words, "--steps_per_call=5", check=True)
    assert_equal_runs(whole, cut)


@pytest.mark.slow
@pytest.mark.parametrize("words", MODELS, ids=["sequential", "mobilenet_v2"])
def test_one_and_two_replicas_end_in_the_same_bits(data_dir, tmp_path, words):
    words = [*words, "--elastic_shards=2", "--threads=2"]
    run_trainer(data_dir, tmp_path / "one", *words, check=True)
    run_trainer(data_dir, tmp_path / "two", *words, *TWO, check=True)
    one, two = result(tmp_path / "one"), result(tmp_path / "two")
    assert [one[key] for key in SAME] == [two[key] for key in SAME]


@pytest.mark.slow
def test_replicas_of_a_deep_network_draw_the_same_masks_in_float64(data_dir, tmp_path):
    words = [
        "--model=tests.support.keras_networks:mobilenet_v2",
        *FORTY,
        "--log_every_steps=1",
    ]
    words += ["--model_kwargs=width=0.35,synchronized=true", "--precision=float64"]
    # With the default rate a rounding error grows by a factor of ten per step: 1e-14 in
    # the first, 4e-7 in the seventh. So small steps: at most 2.1e-13 in all forty.
    words += ["--learning_rate=1e-6"]
    run_trainer(data_dir, tmp_path / "one", *words, check=True)
    run_trainer(data_dir, tmp_path / "two", *words, *TWO, check=True)
    pairs = zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True)
    assert all(abs(one - two) <= 1e-11 for one, two in pairs)
