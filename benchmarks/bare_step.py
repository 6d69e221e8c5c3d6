"""The bare training step: only the network, on one constant batch.

python -m benchmarks.bare_step  # answers requests of benchmarks.subprocess_peer
"""

import time

import numpy as np
import tensorflow as tf

from benchmarks import subprocess_peer, synthetic_data
from trainer import rng
from trainer.config.enums import OptimizerName, Precision
from trainer.config.schema import Config, ModelConfig, OptimConfig
from trainer.distributed import strategy
from trainer.models import builder, context, layers
from trainer.optim import optimizers


class Bare:
    """Forward, backward and update in one compiled loop.

    Args:
        settings: model, optimizer and precision; the batch is that of `images`.
        images: uint8 [B, H, W, C].
        labels: integers [B].
        classes: how many labels there are.
    """

    def __init__(
        self,
        settings: Config,
        images: np.ndarray,
        labels: np.ndarray,
        classes: int = 10,
    ) -> None:
        model = builder.build_model(
            settings.model,
            image_shape=images.shape[1:],
            num_classes=classes,
            precision=settings.precision.value,
        )
        self._body = model.get_layer("body")
        self._optimizer = optimizers.build_optimizer(
            settings, self._body.trainable_variables
        )
        self._dropouts = [x for x in self._body.layers if hasattr(x, "draw_numbers")]
        self._norms = [x for x in self._body.layers if isinstance(x, layers.BatchNorm)]
        self._x = model.get_layer("normalise")(tf.constant(images, tf.float32))
        self._y = tf.constant(labels)
        self._count = len(images)
        self._steps = tf.function(self._loop, autograph=True)
        self._steps(tf.constant(1))

    def speed(self, steps: int) -> float:
        """Measures images per second over `steps` steps."""
        start = time.perf_counter()
        self._steps(tf.constant(steps))
        return steps * self._count / (time.perf_counter() - start)

    def _loop(self, number: tf.Tensor) -> None:
        for step in tf.range(tf.cast(number, tf.int64)):
            self._step(step)

    @tf.autograph.experimental.do_not_convert
    def _step(self, step: tf.Tensor) -> None:
        stream = rng.RandomStream(0, step, tf.zeros([], tf.int64))
        forward = context.ForwardContext(
            {d.name: d.draw_numbers(stream, self._count) for d in self._dropouts}
        )
        with context.forward_context(forward), tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                self._y, self._body(self._x, training=True)
            )
            loss = tf.reduce_mean(losses)
        weights = self._body.trainable_variables
        self._optimizer.apply(tape.gradient(loss, [w.value for w in weights]), weights)
        for norm in self._norms:
            for variable in norm.moving:
                value = forward.statistics[variable.path]
                kept, new = norm.momentum, 1 - norm.momentum
                variable.assign(variable.value * kept + value * new)


def build_step(
    *, name: str, precision: str, batch: int, threads: int, activation: str = "relu"
) -> Bare:
    """Builds our network `name` on noise of CIFAR-10's shape, with SGD and momentum."""
    strategy.set_threads(threads)
    settings = Config(
        model=ModelConfig(
            name=name, kwargs={} if activation == "relu" else {"activation": activation}
        ),
        optim=OptimConfig(name=OptimizerName.SGD, learning_rate=0.01, weight_decay=0),
        global_batch=batch,
        precision=Precision(precision),
    )
    return Bare(settings, *synthetic_data.examples(batch))


if __name__ == "__main__":
    subprocess_peer.serve(build_step)
