"""--elastic_shards: any number of replicas and workers ends in the same bits."""

import dataclasses
import json
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.support.commands import result, run_trainer
from tests.support.compiled_steps import (
    BLOCK,
    CNN,
    PLAIN,
    RESNET8,
    config,
    fingerprint,
    run,
)
from tests.support.multi_worker import finish, start
from tests.support.resumed_runs import SAME, assert_equal_runs, interrupt
from trainer.config.enums import Precision
from trainer.distributed import reduction
from trainer.rundir import checkpoints

DROPPING = {"dropout": 0.2}
SMALL = dataclasses.replace(PLAIN, kwargs={**PLAIN.kwargs, **DROPPING})
LARGE = dataclasses.replace(CNN, kwargs={**CNN.kwargs, **DROPPING})
ELASTIC = ["--elastic_shards=4", "--threads=2"]


def mirrored(count: int) -> list[str]:
    return ["--strategy=mirrored", f"--logical_devices={count}"]


def test_parts_are_added_from_the_first_to_the_last():
    parts = np.random.default_rng(0).normal(size=(7, 1001)).astype(np.float32)
    parts *= 10.0 ** np.arange(7, dtype=np.float32)[::-1, None]
    expected = parts[0]
    for part in parts[1:]:
        expected = expected + part
    assert (expected != parts[::-1].cumsum(0, np.float32)[-1]).any()  # order matters
    np.testing.assert_array_equal(tf.function(reduction.ordered_sum)(parts), expected)


def case(model, precision, count, *marks):
    name = f"{model.name}-{precision.value}-{count}"
    return pytest.param(model, precision, count, id=name, marks=marks)


@pytest.mark.parametrize(
    ("model", "precision", "count"),
    [
        case(SMALL, Precision.FLOAT32, 4),
        case(LARGE, Precision.FLOAT32, 2, pytest.mark.slow),
        case(LARGE, Precision.FLOAT32, 4, pytest.mark.slow),
        case(LARGE, Precision.MIXED_BFLOAT16, 2, pytest.mark.slow),
        case(LARGE, Precision.MIXED_BFLOAT16, 4, pytest.mark.slow),
        case(BLOCK, Precision.FLOAT32, 2, pytest.mark.slow),
        case(BLOCK, Precision.FLOAT32, 4, pytest.mark.slow),
        case(RESNET8, Precision.FLOAT32, 2, pytest.mark.slow),
        case(RESNET8, Precision.FLOAT32, 4, pytest.mark.slow),
        case(RESNET8, Precision.MIXED_BFLOAT16, 2, pytest.mark.slow),
        case(RESNET8, Precision.MIXED_BFLOAT16, 4, pytest.mark.slow),
        case(RESNET8, Precision.MIXED_FLOAT16, 2, pytest.mark.slow),
        case(RESNET8, Precision.MIXED_FLOAT16, 4, pytest.mark.slow),
    ],
)
def test_any_number_of_replicas_gives_the_same_bits(replicas, model, precision, count):
    settings = config(model, precision=precision, elastic_shards=4)
    state, measured = run(replicas(1), settings, 5)
    other, theirs = run(replicas(count), settings, 5)
    assert fingerprint(other) == fingerprint(state)
    np.testing.assert_array_equal(theirs, measured)
    for name, array in state.arrays().items():  # slots and statistics too
        np.testing.assert_array_equal(other.arrays()[name], array, err_msg=name)


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_shards_are_the_global_batch_in_float64(replicas, count):
    whole = config(SMALL, precision=Precision.FLOAT64)
    _, losses = run(replicas(1), whole, 10)
    parts = dataclasses.replace(whole, elastic_shards=count)
    _, shared = run(replicas(1), parts, 10)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_batch_norm_of_shards_is_that_of_as_many_replicas(replicas):
    settings = config(RESNET8, precision=Precision.FLOAT64)
    state, losses = run(replicas(2), settings, 5)
    parts = dataclasses.replace(settings, elastic_shards=2)
    other, shared = run(replicas(1), parts, 5)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)
    for name, array in state.arrays().items():
        np.testing.assert_allclose(other.arrays()[name], array, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_a_run_killed_on_one_replica_ends_on_four_in_the_same_bits(data_dir, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = [
        *ELASTIC,
        "--model=resnet8",
        "--model_kwargs=dropout=0.2",
        "--train_steps=60",
    ]
    run_trainer(data_dir, whole, *words, "--ema_decay=0.9", check=True)
    assert interrupt(data_dir, cut, signal.SIGKILL, words) == -signal.SIGKILL
    assert interrupt(data_dir, cut, signal.SIGTERM, [*words, *mirrored(2)]) == 143
    done = run_trainer(
        data_dir, cut, *words, "--ema_decay=0.9", *mirrored(4), check=True
    )
    assert "resumed" in done.stderr + done.stdout
    kept = checkpoints.list_folders(cut / "checkpoints")
    assert checkpoints.load(kept[0]).facts["place"]["replicas"] == 4
    assert_equal_runs(whole, cut)


@pytest.mark.slow
def test_two_workers_end_in_the_bits_of_one_process(data_dir, tmp_path):
    words = ["--model=resnet8", "--model_kwargs=dropout=0.2", "--elastic_shards=4"]
    done = finish(start(data_dir, tmp_path / "two", *words))
    assert [code for code, _ in done] == [0, 0], done
    run_trainer(data_dir, tmp_path / "one", *words, "--threads=1", check=True)
    two, one = result(tmp_path / "two"), result(tmp_path / "one")
    assert (two["replicas"], one["replicas"]) == (2, 1)
    assert [two[key] for key in SAME] == [one[key] for key in SAME]


def test_replicas_that_cannot_share_the_shards_are_named(data_dir, tmp_path):
    words = ["--elastic_shards=1", *mirrored(2)]
    done = run_trainer(data_dir, tmp_path / "run", *words)
    assert done.returncode == 2
    assert "--elastic_shards=1 cannot be shared by 2 replicas" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_number_of_shards_belongs_to_the_run(data_dir, tmp_path):
    words = ["--train_steps=2", "--warmup_epochs=0"]
    run_trainer(data_dir, tmp_path / "run", *words, "--elastic_shards=4", check=True)
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())
    assert recorded["config"]["elastic_shards"] == 4
    other = run_trainer(data_dir, tmp_path / "run", *words, "--elastic_shards=2")
    assert other.returncode == 2
    assert "elastic_shards: 4 != 2" in other.stderr
