"""Batch normalisation with statistics that stay, on a CPU and as on a GPU."""

import numpy as np
import tensorflow as tf

from tests.support.gpu_kernels import not_deterministic
from trainer.models.layers import BatchNorm


def frozen_step(monkeypatch, gpus: list[str]) -> tuple[tf.Graph, list[np.ndarray]]:
    """The graph of a training step, its output and gradients of x, gamma and beta."""
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpus)
    generator, layer = np.random.default_rng(0), BatchNorm(inference=True)
    x = tf.constant(generator.normal(3, 2, size=(8, 4, 4, 6)), tf.float32)
    layer.build(x.shape)
    layer.moving_mean.assign(generator.normal(3, size=6))
    layer.moving_variance.assign(generator.gamma(2, size=6))

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y**2)
        weights = [layer.gamma.value, layer.beta.value]
        return [y, *tape.gradient(loss, [x, *weights])]

    graph = step.get_concrete_function(x).graph
    return graph, [value.numpy() for value in step(x)]


def test_training_on_a_gpu_has_a_deterministic_gradient_equal_to_rounding(monkeypatch):
    found = {}
    for gpus in ([], ["GPU:0"]):
        graph, found[len(gpus)] = frozen_step(monkeypatch, gpus)
        missing = not_deterministic(graph.as_graph_def())
        assert missing == (set() if gpus else {"FusedBatchNormGradV3"})
    for one, other in zip(found[0], found[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
