"""speednet and its tricks: whitening, Muon, small images, alternating flips."""

import json
import re
import signal
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.commands import TINY, result, run_trainer
from tests.support.compiled_steps import IMAGES, LABELS
from tests.support.flag_values import read
from tests.support.gpu_kernels import without_gpu_kernel
from tests.support.resumed_runs import SAME, interrupt
from tests.support.run_directories import begin
from trainer.config.enums import Augment, Flip, Input, OptimizerName, Precision
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, DataConfig, ModelConfig, OptimConfig
from trainer.data.augmentation.crops import AlternatingFlip
from trainer.data.augmentation.resizing import area_resize
from trainer.models import builder
from trainer.models.layers import VARIANCE_FLOOR, Dirac, filters
from trainer.models.networks.speednet import GELU_SLOPE
from trainer.optim import optimizers
from trainer.training import network, timetable

TRICKS = [
    "--model=speednet",
    "--model_kwargs=activation=gelu",
    "--optimizer=muon",
    "--learning_rate=0.05",
    "--bias_scaler=4",
    "--sgd_learning_rate=0.05",
    "--weight_decay=0.1",
    "--progressive_size=20",
    "--flip=alternating",
    "--augment=flip_crop",
    "--label_smoothing=0.2",
]
GENERATOR = np.random.default_rng(0)


def speednet_step(cluster, precision: Precision, source=Input.AUTO, sync=False):
    settings = Config(
        model=ModelConfig(
            name="speednet",
            kwargs={"width": 0.25, "activation": "gelu"},
            sync_batch_norm=sync,
        ),
        data=DataConfig(
            flip=Flip.ALTERNATING,
            progressive_size=None if sync else 16,
            augment=Augment.FLIP,
        ),
        optim=OptimConfig(name=OptimizerName.MUON, learning_rate=0.2),
        global_batch=32,
        train_steps=8,
        precision=precision,
    )
    images = np.pad(IMAGES, [(0, 0), (4, 4), (4, 4), (0, 0)], mode="reflect")
    train_split = types.SimpleNamespace(images=images, labels=LABELS, names=[0] * 10)
    held = types.SimpleNamespace(
        train=train_split,
        test=train_split,
        learnt=np.arange(400),
        image_shape=images.shape[1:],
    )
    run_config = RunConfig(input=source)
    planned = timetable.build_timetable(settings, run_config, len(held.learnt))
    return network.build_network(settings, run_config, cluster, held, planned)


@pytest.mark.parametrize(
    "precision",
    [Precision.MIXED_BFLOAT16, pytest.param(Precision.FLOAT32, marks=pytest.mark.slow)],
)
def test_every_operator_of_the_tricks_has_a_gpu_kernel(replicas, precision):
    """Those of float32 on one replica are looked at where images of the host are."""
    trainer = speednet_step(replicas(2), precision).train_step
    assert not without_gpu_kernel(trainer.graph)


def test_whitened_patches_are_decorrelated_and_centred():
    images = GENERATOR.normal(0.3, 0.2, (200, 9, 9, 3)).cumsum(axis=1).cumsum(axis=3)
    kernel, bias = filters(images)
    out = tf.nn.conv2d(images, kernel, 1, "VALID").numpy() + bias
    out = out.reshape(-1, 24)
    np.testing.assert_allclose(out[:, 12:], -out[:, :12], atol=1e-9)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-6)
    covariance = np.cov(out[:, :12].T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-6)
    assert np.diag(covariance).max() <= 1
    assert np.diag(covariance).min() > VARIANCE_FLOOR


def test_grey_images_leave_no_filter_without_a_signal():
    grey = GENERATOR.normal(size=(50, 9, 9, 1)).repeat(3, axis=3)
    kernel, _ = filters(grey)
    out = tf.nn.conv2d(grey, kernel, 1, "VALID").numpy()
    assert out.std(axis=(0, 1, 2)).min() > 0.5


def test_speednet_shows_training_images_to_its_whitening_only_when_asked():
    for whiten in (True, False):
        model = builder.build_model(
            ModelConfig(name="speednet", kwargs={"width": 0.25, "whiten": whiten}),
            image_shape=(32, 32, 3),
            num_classes=10,
        )
        layer = model.get_layer("body").get_layer("whitening")
        before = layer.kernel.numpy()
        pixels = GENERATOR.integers(0, 256, (50, 32, 32, 3), np.uint8)
        builder.adapt(model, pixels)
        assert np.array_equal(layer.kernel.numpy(), before) != whiten
        assert len(layer.trainable_weights) == (0 if whiten else 2)


def test_gelu_is_silu_of_a_gain_that_the_end_takes_out():
    body = builder.build_model(
        ModelConfig(name="speednet", kwargs={"width": 0.25, "activation": "gelu"}),
        image_shape=(32, 32, 3),
        num_classes=10,
    ).get_layer("body")
    norms = [layer for layer in body.layers if layer.name.endswith("_norm")]
    for norm in norms:
        np.testing.assert_allclose(norm.gamma, GELU_SLOPE)
        assert [weight.name for weight in norm.trainable_weights] == ["beta"]
    layer = norms[0]
    layer.beta.assign(GENERATOR.normal(0, 3, layer.beta.shape))
    inner = [body.get_layer(f"group1_a_{part}").output for part in ("norm", "silu")]
    x = GENERATOR.normal(size=(2, 32, 32, 3)).astype(np.float32)
    norm, bent = (y.numpy() / GELU_SLOPE for y in keras.Model(body.input, inner)(x))
    assert norm.min() < -1 and norm.max() > 1
    exact = keras.activations.gelu(norm, approximate=False)
    np.testing.assert_allclose(bent, exact, atol=0.021)  # the approximation's error
    scale = body.get_layer("classes_scale").factor
    assert scale * GELU_SLOPE == pytest.approx(1 / 9)


def test_dirac_kernels_pass_their_input_on():
    kernel = Dirac(keras.initializers.Zeros())((3, 3, 4, 6))
    image = GENERATOR.normal(size=(2, 8, 8, 4))
    out = tf.nn.conv2d(image, tf.cast(kernel, tf.float64), 1, "SAME").numpy()
    np.testing.assert_array_equal(out[..., :4], image)
    np.testing.assert_array_equal(out[..., 4:], 0)


def test_muon_moves_kernels_by_orthogonal_matrices_and_the_rest_by_sgd():
    settings = OptimConfig(
        name=OptimizerName.MUON,
        learning_rate=0.1,
        sgd_learning_rate=0.5,
        bias_scaler=4,
        weight_decay=0,
    )
    start = GENERATOR.normal(size=(3, 3, 8, 16)).astype(np.float32)
    kernel = keras.Variable(start, name="kernel")
    dense = keras.Variable(np.ones((3, 2), np.float32), name="kernel")
    beta = keras.Variable(np.ones(3, np.float32), name="beta")
    variables = [kernel, dense, beta]
    optimizer = optimizers.build_optimizer(Config(optim=settings), variables)
    gradients = [GENERATOR.normal(size=v.shape).astype(np.float32) for v in variables]
    optimizer.apply(gradients, variables)
    kept = start * 4 / np.linalg.norm(start)
    moved = ((kept - kernel.numpy()) / 0.1).reshape(72, 16)
    u, _, v = np.linalg.svd(gradients[0].reshape(72, 16), full_matrices=False)
    singular = np.diag(u.T @ moved @ v.T)
    np.testing.assert_allclose(u @ np.diag(singular) @ v, moved, atol=1e-4)
    assert singular.min() > 0.3
    assert singular.max() < 1.3
    nesterov = 1 + 0.85
    np.testing.assert_allclose(
        dense.numpy(), 1 - 0.5 * nesterov * gradients[1], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        beta.numpy(), 1 - 4 * 0.5 * nesterov * gradients[2], rtol=1e-5, atol=1e-6
    )


def test_small_images_are_means_of_what_they_cover():
    images = GENERATOR.uniform(0, 255, (5, 32, 24, 3)).astype(np.float32)
    half = images.reshape(5, 16, 2, 12, 2, 3).mean(axis=(2, 4))
    square = area_resize(tf.constant(images[:, :24]), 12).numpy()
    np.testing.assert_allclose(square, half[:, :12], rtol=1e-5)
    uneven = area_resize(tf.constant(images), 20).numpy()
    np.testing.assert_allclose(
        uneven.mean(axis=(1, 2)), images.mean(axis=(1, 2)), rtol=1e-5
    )


def test_two_epochs_show_every_image_both_ways():
    flips = AlternatingFlip(examples=60, epoch_images=50, seed=3)
    learnt = np.arange(5, 55, dtype=np.int32)
    first = flips(tf.constant(learnt), tf.constant(0, tf.int64)).numpy()
    second = flips(tf.constant(learnt[::-1]), tf.constant(50, tf.int64)).numpy()[::-1]
    third = flips(tf.constant(learnt), tf.constant(100, tf.int64)).numpy()
    np.testing.assert_array_equal(first, ~second)
    np.testing.assert_array_equal(first, third)
    assert 10 < first.sum() < 40
    across = flips(tf.constant(learnt[:20]), tf.constant(40, tf.int64)).numpy()
    np.testing.assert_array_equal(across[:10], first[:10])
    np.testing.assert_array_equal(across[10:], ~first[10:20])


def test_replicas_do_not_change_what_the_tricks_do(replicas):
    """In the step; its longer sibling is two commands. Neither has small images."""
    rows = np.random.default_rng(0).integers(0, 400, (4, 32), np.int32)
    rates, found = np.full(4, 1e-3, np.float32), []
    for count in (1, 2):
        built = speednet_step(replicas(count), Precision.FLOAT64, sync=True)
        found.append(built.train_step(0, rows, rates).metrics[:, 0])
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-9)


@pytest.mark.slow
def test_runs_of_more_replicas_do_not_change_what_the_tricks_do(data_dir, tmp_path):
    def losses(run) -> np.ndarray:
        text = (tmp_path / run / "metrics.jsonl").read_text()
        return np.array([json.loads(line)["loss"] for line in text.splitlines()])

    whole = [word for word in TRICKS if "progressive" not in word]
    words = [*whole, "--precision=float64", "--train_steps=8", "--sync_batch_norm"]
    two = ["--strategy=mirrored", "--logical_devices=2"]
    bent = run_trainer(data_dir, tmp_path / "one", *words, fresh=True, check=True)
    assert "weights" in bent.stdout
    run_trainer(data_dir, tmp_path / "two", *words, *two, check=True)
    one, other = result(tmp_path / "one"), result(tmp_path / "two")
    assert one["rows_sha256"] == other["rows_sha256"]
    np.testing.assert_allclose(losses("two"), losses("one"), rtol=0, atol=1e-9)


@pytest.mark.slow
def test_a_signal_among_the_small_images_and_a_resume_do_not_change_a_bit(
    data_dir, tmp_path
):
    words = [*TRICKS, "--train_steps=60", "--ema_decay=0.9"]
    assert interrupt(data_dir, tmp_path / "cut", signal.SIGTERM, words) == 143
    run_trainer(data_dir, tmp_path / "cut", *words, "--steps_per_call=7", check=True)
    run_trainer(data_dir, tmp_path / "whole", *words, "--steps_per_call=1", check=True)
    whole, cut = result(tmp_path / "whole"), result(tmp_path / "cut")
    for key in SAME:
        assert whole[key] == cut[key]


@pytest.mark.parametrize(
    "words", [["--model=cnn", "--model_kwargs="], ["--progressive_size=32"]]
)
def test_small_images_need_a_network_for_them(data_dir, tmp_path, words):
    done = run_trainer(data_dir, tmp_path / "run", *TRICKS, *words)
    assert done.returncode == 2
    assert "--progressive_size" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_dry_run_times_small_images_and_whole_ones(data_dir, tmp_path):
    done = run_trainer(data_dir, tmp_path / "run", *TRICKS, "--dry_run", check=True)
    found = re.search(r"takes ([\d.]+) s, later ([\d.]+) s .*all about", done.stdout)
    assert float(found[1]) > 0
    assert float(found[2]) > 0


def test_a_resume_with_another_activation_is_refused_by_name(data_dir, tmp_path):
    begin(tmp_path / "run", read(*TINY, *TRICKS, "--train_steps=6")[0])
    words = ["--train_steps=6", "--model_kwargs=activation=relu"]
    done = run_trainer(data_dir, tmp_path / "run", *TRICKS, *words)
    assert done.returncode == 2
    assert "model.kwargs.activation: 'gelu' != 'relu'" in done.stderr


@pytest.mark.slow
def test_small_steps_and_alternating_flips_of_images_of_the_host_are_alike(replicas):
    found, rates = [], np.full(6, 0.1, np.float32)
    rows = np.random.default_rng(0).integers(0, 400, (6, 32), np.int32)
    for source in (Input.DEVICE, Input.HOST):
        built = speednet_step(replicas(1), Precision.FLOAT32, source)
        metrics = built.train_step(0, rows, rates).metrics  # 4 of them on small images
        assert not without_gpu_kernel(built.train_step.graph)
        shown = built.train_step.augmented(rows[0])
        found.append([metrics, shown, *built.state.arrays().values()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
