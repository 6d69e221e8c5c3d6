"""The bare training step: only the network, on one constant batch.

It runs on the first GPU, or on the CPU if TensorFlow sees none.

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


class Bare(subprocess_peer.Net):
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
        self._gpus = tf.config.list_physical_devices("GPU")
        strategy.grow_memory(self._gpus)  # the other side needs memory, too
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
        self._compute = self._forward_backward
        if settings.jit_compile:
            self._compute = tf.function(
                self._compute, jit_compile=True, autograph=False
            )
        self._steps = tf.function(self._loop, autograph=True)
        self._steps(tf.constant(1))

    def speed(self, steps: int) -> float:
        """Measures images per second over `steps` steps."""
        if self._gpus:
            tf.config.experimental.reset_memory_stats("GPU:0")
        start = time.perf_counter()
        self._steps(tf.constant(steps))
        tf.test.experimental.sync_devices()
        return steps * self._count / (time.perf_counter() - start)

    def peak_bytes(self) -> int | None:
        """The most GPU memory in use at once since `speed` began; None: on a CPU."""
        if not self._gpus:
            return None
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]

    def _loop(self, number: tf.Tensor) -> None:
        # int32 lies in the CPU's memory. A counter of int64 on a GPU would be copied
        # back at every step, and the CPU would wait for it.
        for step in tf.range(number):
            self._step(tf.cast(step, tf.int64))

    @tf.autograph.experimental.do_not_convert
    def _step(self, step: tf.Tensor) -> None:
        stream = rng.RandomStream(0, step, tf.zeros([], tf.int64))
        masks = {d.name: d.draw_numbers(stream, self._count) for d in self._dropouts}
        gradients, statistics = self._compute(masks)
        self._optimizer.apply(gradients, self._body.trainable_variables)
        for norm in self._norms:
            for variable in norm.moving:
                value = statistics[variable.path]
                kept, new = norm.momentum, 1 - norm.momentum
                variable.assign(variable.value * kept + value * new)

    def _forward_backward(
        self, masks: dict[str, tf.Tensor]
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Computes gradients, and batch statistics by the path of their variable."""
        forward = context.ForwardContext(masks)
        with context.forward_context(forward), tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                self._y, self._body(self._x, training=True)
            )
            loss = tf.reduce_mean(losses)
        weights = self._body.trainable_variables
        return tape.gradient(loss, [w.value for w in weights]), forward.statistics


def build_step(
    *,
    name: str,
    precision: str,
    batch: int,
    threads: int,
    activation: str = "relu",
    compiled: bool = False,
) -> Bare:
    """Builds our network `name` on noise of CIFAR-10's shape, with SGD and momentum.

    If `compiled`, XLA compiles its forward and backward pass, as --jit_compile does.
    """
    strategy.set_threads(threads)
    settings = Config(
        model=ModelConfig(
            name=name, kwargs={} if activation == "relu" else {"activation": activation}
        ),
        optim=OptimConfig(name=OptimizerName.SGD, learning_rate=0.01, weight_decay=0),
        global_batch=batch,
        precision=Precision(precision),
        jit_compile=compiled,
        deterministic=not compiled,  # XLA has no deterministic operators
    )
    return Bare(settings, *synthetic_data.examples(batch))


if __name__ == "__main__":
    subprocess_peer.serve(build_step)
