"""The compiled step on small random images, without a run around it."""

import contextlib
import dataclasses
import functools

import keras
import numpy as np
import pytest

from trainer.config.enums import Augment, Input, OptimizerName
from trainer.config.schema import Config, DataConfig, ModelConfig, OptimConfig
from trainer.data.device_dataset import DeviceDataset
from trainer.data.host_pixels import HostPixels
from trainer.data.sampler import Sampler
from trainer.models import builder, registry
from trainer.optim import optimizers
from trainer.optim.class_weights import class_weights
from trainer.pretrained import freezing
from trainer.rundir.weights import weights_sha256
from trainer.training import step as training_step
from trainer.training.state import TrainState

COUNT = 500
GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 10, COUNT).astype(np.int32)
IMAGES = np.clip(
    GENERATOR.normal(LABELS[:, None, None, None] * 20, 40, (COUNT, 16, 16, 3)), 0, 255
).astype(np.uint8)
CNN = ModelConfig(name="cnn", kwargs={"width": 0.25})
PLAIN = dataclasses.replace(CNN, name="plain")  # of tests.support.nets
RESNET8 = ModelConfig(name="resnet8", kwargs={"width": 0.5, "dropout": 0.2})
BLOCK = dataclasses.replace(RESNET8, name="block")  # of tests.support.nets, too


def config(model=PLAIN, **settings) -> Config:
    optimizer = OptimConfig(
        name=settings.pop("optimizer", OptimizerName.ADAMW),
        learning_rate=settings.pop("learning_rate", 1e-3),
        ema_decay=settings.pop("ema_decay", 0.9),
        clip_norm=settings.pop("clip_norm", 1.0),
        label_smoothing=0.1,
        class_weight=settings.pop("class_weight", 0.0),
    )
    data = DataConfig(augment=settings.pop("augment", Augment.FLIP_CROP_CUTOUT))
    return Config(
        model=model, optim=optimizer, data=data, global_batch=32, train_steps=100,
        **settings,
    )  # fmt: skip


def assemble(cluster, settings: Config, traced=None):
    """The state before the first step, and the compiled step; traced once a setting."""
    state, trainer, start = (traced or trace_step)(cluster, settings)
    for variable, value in start:
        variable.assign(value)
    return TrainState(state.model, state.optimizer, trainer.averages), trainer


@contextlib.contextmanager
def small_networks():
    """A context in which the registry has the networks of tests.support.nets."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("plain", "block"):
            patch.setitem(registry.MODELS, name, f"tests.support.nets:{name}")
        yield


@functools.lru_cache(maxsize=24)
def trace_step(cluster, settings: Config, source=Input.DEVICE):
    keras.utils.set_random_seed(settings.seed)
    with cluster.strategy.scope(), small_networks():
        model = builder.build_model(
            settings.model,
            image_shape=IMAGES.shape[1:],
            num_classes=10,
            precision=settings.precision.value,
        )
        epochs = settings.model.unfreeze_epoch or 0.0
        frozen_steps = round(epochs * COUNT / settings.global_batch)
        rates = freezing.freeze(model.get_layer("body"), settings, frozen_steps)
        optimizer = optimizers.build_optimizer(
            settings, model.trainable_variables, rates
        )
    pixels = None
    if source is Input.HOST:
        pixels = HostPixels(
            IMAGES,
            cluster,
            global_batch=settings.global_batch,
            partners=settings.data.mixes,
        )
    images = DeviceDataset(IMAGES, LABELS, cluster, pixels)
    weights = class_weights(LABELS, range(10), settings.optim.class_weight)
    trainer = training_step.TrainStep(
        settings,
        cluster,
        model,
        optimizer,
        images,
        class_weights=weights,
        layer_rates=rates,
    )
    state = TrainState(model, optimizer, trainer.averages)
    return state, trainer, [(v, v.numpy()) for v in state.variables().values()]


def run(cluster, settings: Config, count: int, per_call: int = 5, traced=None):
    """Trains `count` steps; returns the state and metrics [count, 3]."""
    state, trainer = assemble(cluster, settings, traced)
    rows = Sampler(np.arange(COUNT), global_batch=settings.global_batch, seed=0)
    measured = []
    with trainer.pixels.reading(rows.block, 0, count):
        while state.step < count:
            size = min(per_call, count - state.step)
            rates = np.full(size, settings.optim.learning_rate, np.float32)
            outcome = trainer(state.step, rows.block(state.step, size), rates)
            np.testing.assert_array_equal(outcome.rows, rows.block(state.step, size))
            state.advance(outcome)
            measured.append(outcome.metrics)
    return state, np.concatenate(measured)


def fingerprint(state: TrainState) -> tuple[str, str]:
    return weights_sha256(state.arrays()), state.rows_digest.hex()
