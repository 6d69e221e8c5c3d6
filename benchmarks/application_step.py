"""A training step of a network of keras.applications: the toolkit's, or Keras' `fit`.

python -m benchmarks.application_step  # answers requests of benchmarks.subprocess_peer
"""

import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import subprocess_peer, synthetic_data
from trainer.config.enums import Augment, OptimizerName, Precision
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, DataConfig, ModelConfig, OptimConfig
from trainer.data.device_dataset import DeviceDataset
from trainer.data.sampler import Sampler
from trainer.distributed import strategy
from trainer.models import architecture, builder
from trainer.models.networks import applications
from trainer.optim import optimizers
from trainer.training.step import TrainStep

BATCHES = 4  # of images in memory
RATE, MOMENTUM = 0.01, 0.9


class OurStep(subprocess_peer.Net):
    """The trainer's whole compiled step on the adapted network, images in memory."""

    def __init__(
        self, *, name: str, precision: str, batch: int, side: int, **_: Any
    ) -> None:
        images, labels = synthetic_data.examples(BATCHES * batch, side)
        described = architecture.describe(
            applications.network(name),
            {},
            image_shape=images.shape[1:],
            num_classes=synthetic_data.CLASSES,
            precision=precision,
        )
        config = Config(
            data=DataConfig(augment=Augment.NONE),
            model=ModelConfig(name=name, architecture=described),
            optim=OptimConfig(
                name=OptimizerName.SGD, learning_rate=RATE, weight_decay=0
            ),
            global_batch=batch,
            precision=Precision(precision),
        )
        model = builder.build_model(
            config.model,
            image_shape=images.shape[1:],
            num_classes=synthetic_data.CLASSES,
            precision=precision,
        )
        optimizer = optimizers.build_optimizer(config, model.trainable_variables)
        cluster = strategy.connect(RunConfig())
        data = DeviceDataset(images, labels, cluster)
        self._step = TrainStep(config, cluster, model, optimizer, data)
        self._rows = Sampler(np.arange(len(images)), global_batch=batch, seed=0)
        self._done = 0

    def speed(self, steps: int) -> float:
        """Measures images per second over `steps` steps."""
        rows = self._rows.block(self._done, steps)
        rates = np.full(steps, RATE, np.float32)
        start = time.perf_counter()
        self._step(self._done, rows, rates)
        self._done += steps
        return rows.size / (time.perf_counter() - start)


class KerasFit(subprocess_peer.Net):
    """Keras' `fit` on its own network with its own preprocessing, images in memory."""

    def __init__(
        self, *, name: str, precision: str, batch: int, side: int, jit: bool
    ) -> None:
        images, labels = synthetic_data.examples(BATCHES * batch, side)
        keras.config.set_dtype_policy(precision)
        self._model = applications.network(name)(
            synthetic_data.CLASSES, images.shape[1:]
        )
        keras.config.set_dtype_policy("float32")
        self._model.compile(
            optimizer=keras.optimizers.SGD(RATE, momentum=MOMENTUM, nesterov=True),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=jit,
        )
        self._count = batch
        self._batches = (
            tf.data.Dataset.from_tensor_slices((images, labels))
            .shuffle(len(images), seed=0)
            .repeat()
            .batch(batch, drop_remainder=True)
            .prefetch(tf.data.AUTOTUNE)
        )

    def speed(self, steps: int) -> float:
        """Measures images per second over `steps` steps."""
        start = time.perf_counter()
        self._model.fit(self._batches, steps_per_epoch=steps, epochs=1, verbose=0)
        return steps * self._count / (time.perf_counter() - start)


def build_side(*, how: str, threads: int, **spec: Any) -> subprocess_peer.Net:
    """Builds "ours", "fit" or "fit jit" for the network that `spec` describes."""
    strategy.set_threads(threads)
    if how == "ours":
        return OurStep(**spec)
    return KerasFit(**spec, jit=how == "fit jit")


if __name__ == "__main__":
    subprocess_peer.serve(build_side)
