"""Forecast: what a training will take, told before it starts."""

import dataclasses
import typing

import keras
import numpy as np

from trainer import memory
from trainer.choices import OptimizerName, Precision
from trainer.cluster import Cluster
from trainer.config import Config
from trainer.datasets import Split
from trainer.progress import duration

if typing.TYPE_CHECKING:
    from trainer.job import Job

GIB = 2**30
# Forward results are kept for the backward pass, which holds about as much again.
PASSES = 2


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Sizes of a training.

    Attributes:
        parameters: numbers in the model.
        memory_bytes: of this process: data, weights, slots, activations, framework.
    """

    parameters: int
    memory_bytes: int

    @classmethod
    def of(
        cls, body: keras.Model, config: Config, cluster: Cluster, split: Split
    ) -> "Forecast":
        """Estimates from shapes; nothing is run."""
        local = len(cluster.local_devices)
        share = config.global_batch // (config.elastic_shards or cluster.replicas)
        half = config.precision in (Precision.MIXED_BFLOAT16, Precision.MIXED_FLOAT16)
        activations = sum(int(np.prod(layer.output.shape[1:])) for layer in body.layers)
        per_replica = activations * share * PASSES * (2 if half else 4)
        parameters = int(body.count_params())
        slots = 4 if config.optim.name is OptimizerName.ADAMW else 3
        slots += config.optim.ema_decay is not None
        slots += config.elastic_shards or 0  # each shard's gradient until the sum
        per_replica += parameters * 4 * slots
        framework = GIB  # TensorFlow, Keras, TFDS and matplotlib once imported
        total = framework + local * (per_replica + split.images.nbytes)
        return cls(parameters, total + split.images.nbytes)

    def lines(self, job: "Job") -> list[str]:
        """The plan, and a warning where memory may not do."""
        config, plan, data = job.config, job.plan, job.data
        free = memory.free_bytes()
        lines = [
            f"{config.model.name}: {self.parameters:,} parameters, "
            f"{config.precision.value}, {job.cluster.replicas} replica(s) on "
            f"{job.cluster.workers} worker(s)",
            f"{data.name}: {len(data.learnt):,} to train on, {len(data.held_out):,} "
            f"held out, {len(data.test.labels):,} to test on, decoded in "
            f"{duration(job.clock.seconds['data'])}",
            f"{plan.total_steps:,} steps of {config.global_batch} images = "
            f"{plan.epoch(plan.total_steps):.4g} epochs; about "
            f"{self.memory_bytes / GIB:.1f} GiB of memory, {free / GIB:.1f} are free",
        ]
        if config.train_steps is not None:
            lines.append(f"--train_steps={config.train_steps} overrides --epochs")
        if self.memory_bytes > free:
            lines.append("warning: memory may not do; lower --global_batch")
        lines.append(f"run directory: {job.run.path}")
        return lines
