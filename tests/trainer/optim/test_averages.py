"""What is shipped in the place of averages that lag: laws, and short trainings."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.commands import result, run_command, run_trainer
from tests.support.compiled_steps import BLOCK, assemble, config, run
from trainer.optim.averages import NEGLIGIBLE, WARM_UP, Average, steps_until_negligible
from trainer.rundir import checkpoints
from trainer.rundir.weights import SHIPPED, eval_weights, raw_weights, weights_sha256


def averages(decay: float, values: np.ndarray, initial: float):
    """carried and shipped after each of `values` [n], as a step moves them."""
    carried, other = (
        keras.Variable([initial], dtype="float32", trainable=False) for _ in range(2)
    )
    average = Average(carried.path, decay, carried, other)

    @tf.function
    def step(now: tf.Tensor, number: tf.Tensor) -> None:
        carried.assign(carried.value * decay + now * (1 - decay))
        average.update(now, number)

    seen = []
    for number, value in enumerate(values.astype(np.float32)):
        step(tf.constant([value]), tf.constant(number, tf.int64))
        seen.append((carried.numpy()[0], other.numpy()[0]))
    return np.array(seen).T


@pytest.mark.parametrize("initial", [0.0, 1.0])
@pytest.mark.parametrize("decay", [0.0, 0.6, 0.99, 0.999])
def test_what_is_shipped_holds_nothing_of_what_it_began_with(decay, initial):
    carried, own = averages(decay, np.full(61, 3.0), initial)
    np.testing.assert_allclose(own[: steps_until_negligible(decay) - 1], 3, rtol=1e-6)
    if decay > 0.9:
        assert abs(carried[-1] - 3) > 1  # so it has to be mended


def test_it_remembers_the_last_tenth_of_the_steps():
    values = np.repeat([0.0, 1.0], [90, 10])
    carried, own = averages(0.999, values, 0.0)
    assert own[-1] > 0.5 > 0.1 > carried[-1]
    expected = 0.0
    for step, value in enumerate(values):
        decay = min(0.999, step / (step + WARM_UP))
        expected = decay * expected + (1 - decay) * value
    assert own[-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.9])
def test_long_trainings_keep_their_bits(decay):
    values = np.random.default_rng(0).normal(size=120)
    carried, own = averages(decay, values, 1.0)
    first = steps_until_negligible(decay) - 1
    np.testing.assert_array_equal(own[first:], carried[first:])
    assert (
        decay ** steps_until_negligible(decay)
        <= NEGLIGIBLE
        < decay ** (steps_until_negligible(decay) - 1)
    )
    if decay:
        assert (own[:first] != carried[:first]).any()


@pytest.mark.parametrize(
    ("count", "ema_decay"),
    [
        (1, 0.9),
        (2, None),
        pytest.param(1, None, marks=pytest.mark.slow),
        pytest.param(2, 0.9, marks=pytest.mark.slow),
    ],
)
def test_a_step_ships_averages_and_carries_what_it_always_did(
    replicas, count, ema_decay
):
    trained, _ = run(replicas(count), config(BLOCK, ema_decay=ema_decay), 5)
    arrays = trained.arrays()
    sent, own = eval_weights(arrays), raw_weights(arrays)
    for path, array in sent.items():
        moving = "/moving_" in path
        if not moving and ema_decay is None:
            np.testing.assert_array_equal(array, own[path], err_msg=path)
    variance = "stem_norm/moving_variance"
    kept = own[variance] - 0.99**5  # what five steps left in it: their mean, weighted
    np.testing.assert_allclose(sent[variance], kept / (1 - 0.99**5), rtol=0.3)
    if ema_decay is not None:
        path = "classes/kernel"
        assert (sent[path] != arrays[f"ema/{path}"]).any()
        assert (sent[path] != own[path]).any()


def test_a_checkpoint_from_before_goes_on_with_corrected_statistics(replicas):
    trained, _ = run(replicas(1), config(BLOCK), 5)
    whole = trained.arrays()
    old = {k: v for k, v in whole.items() if not k.startswith(SHIPPED)}
    fresh, _ = assemble(replicas(1), config(BLOCK))
    fresh.load(old, trained.facts())
    for name, array in old.items():
        np.testing.assert_array_equal(fresh.arrays()[name], array, err_msg=name)
    sent = eval_weights(fresh.arrays())
    mean = "stem_norm/moving_mean"
    np.testing.assert_allclose(sent[mean], old[f"model/{mean}"] / (1 - 0.99**5), 1e-5)
    variance = sent["stem_norm/moving_variance"]
    np.testing.assert_allclose(
        variance, eval_weights(whole)["stem_norm/moving_variance"], 1
    )
    assert (variance >= 0).all()
    np.testing.assert_array_equal(sent["classes/kernel"], old["ema/classes/kernel"])
    # It shipped what training carries, and that is what its hash is of.
    assert weights_sha256(eval_weights(old)) == fresh.facts(old)["weights_sha256"]


def test_a_variance_is_never_negative():
    one = keras.Variable([1.0], dtype="float32", trainable=False, name="variance")
    average = dataclasses.replace(Average(one.path, 0.99, one, one))
    held = np.array([0.5], np.float32)  # below 0.99 ** 60, by rounding or damage
    assert average.start(held, 60) == 0
    np.testing.assert_array_equal(average.start(held, 0), held)
    np.testing.assert_array_equal(average.start(held, 1000), held)


def gap(path) -> float:
    """Points between training, as the last line has it, and validation."""
    lines = [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]
    trained = [x["accuracy"] for x in lines if x["split"] == "train"][-1]
    return 100 * (trained - result(path)["validation_accuracy"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--model=resnet8"],
        ["--model=resnet8", "--model_kwargs=width=0.5", "--ema_decay=0.999"],
        ["--model=resnet20", "--model_kwargs=width=0.25"],
        ["--model=speednet", "--model_kwargs=width=0.25", "--augment=crop"],
    ],
    ids=lambda words: words[0].partition("=")[2] + "".join(words[2:]),
)
def test_a_training_of_sixty_steps_is_worth_what_it_learnt(data_dir, tmp_path, words):
    where = [f"--data_dir={data_dir}", f"--run_dir={tmp_path / 'run'}"]
    digits = ["--dataset=digits", "--epochs=12", "--eval_every_epochs=12"]
    run_command("trainer.main", *digits, *where, *words, check=True)
    assert gap(tmp_path / "run") < 15


@pytest.mark.slow
def test_an_older_run_is_confirmed_by_what_it_shipped(data_dir, tmp_path):
    path = tmp_path / "run"
    run_trainer(data_dir, path, "--model=resnet8", "--train_steps=6", check=True)
    kept = checkpoints.load(checkpoints.step_folder(path / "checkpoints", 6))
    old = {k: v for k, v in kept.arrays.items() if not k.startswith(SHIPPED)}
    facts = {**kept.facts, "weights_sha256": weights_sha256(eval_weights(old))}
    assert facts["weights_sha256"] != kept.facts["weights_sha256"]
    del facts["files"], facts["manifest_sha256"]
    checkpoints.save(path / "checkpoints", old, facts)
    done = run_command("trainer.recheck", f"--run_dir={path}", fresh=True)
    assert done.returncode == 0, done.stderr
