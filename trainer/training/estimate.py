"""Estimates the memory and the arithmetic of a training before it starts."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from trainer import system
from trainer.config.enums import Input, OptimizerName, Precision
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, ModelConfig
from trainer.data import host_pixels
from trainer.data.dataset import Dataset
from trainer.distributed.collectives import PEER_LOST, gather
from trainer.distributed.strategy import Cluster
from trainer.errors import PeerLost
from trainer.models import builder, evaluator, registry
from trainer.models.analysis.multiply_adds import (
    calls,
    count_multiply_adds,
    output_elements,
)
from trainer.monitoring.pictures import GRID_IMAGES
from trainer.monitoring.progress import duration
from trainer.training.timetable import Timetable, format_epoch

GIB = 2**30
FRAMEWORK = GIB  # memory of TensorFlow, Keras, TFDS and matplotlib after import
# The backward pass keeps all activations and needs about as much memory for gradients.
ACTIVATION_PASSES = 2
GPU_PART = 0.9  # of a GPU's memory that may be planned for; the driver takes some
PIXEL_BYTES = 4 * (4 + 8)  # of a drawn image: float32 and matplotlib's float64, as RGBA


INPUTS = {
    Input.DEVICE: "the training images are copied to every device",
    Input.HOST: "a thread of the host reads the training images ahead of the steps",
}


@dataclasses.dataclass(frozen=True)
class ResourceEstimate:
    """Memory that a training needs in this process.

    Attributes:
        parameters: number of parameters of the model.
        kept: bytes that are used from start to end: data and weights.
        passing: bytes of phases that follow each other, by phase; the largest counts.
        on_device: bytes of one device with its own memory, such as a GPU.
    """

    parameters: int
    kept: dict[str, int]
    passing: dict[str, int]
    on_device: int

    @property
    def memory_bytes(self) -> int:
        """The highest memory use."""
        return FRAMEWORK + sum(self.kept.values()) + max(self.passing.values())

    @classmethod
    def from_shapes(
        cls,
        body: keras.Model,
        config: Config,
        cluster: Cluster,
        data: Dataset,
        source: Input,
    ) -> "ResourceEstimate":
        """Estimates the memory from shapes, without running anything.

        `source` is where the steps have their images from.
        """
        local = len(cluster.local_devices)
        share = config.global_batch // (config.elastic_shards or cluster.replicas)
        half = config.precision in (Precision.MIXED_BFLOAT16, Precision.MIXED_FLOAT16)
        activations = sum(map(output_elements, calls(body)))
        step = activations * share * ACTIVATION_PASSES * (2 if half else 4)
        parameters = int(body.count_params())
        weights = parameters * 4 * _slots(config)
        height, width, _ = data.image_shape
        copies = data.train.images.nbytes
        if source is Input.HOST:
            copies = host_pixels.buffer_bytes(data.image_shape, config, cluster)
        held = _own_bytes(data.train.images)
        held += _own_bytes(data.test.images) if data.test else 0
        return cls(
            parameters,
            {"data": held + copies * local, "weights": weights * local},
            {
                "training": step * local,
                "evaluation": evaluator.batch_size(body) * evaluator.live_bytes(body),
                "pictures": GRID_IMAGES * height * width * PIXEL_BYTES,
            },
            copies + weights + step,
        )

    def remedy(self, config: Config, cluster: Cluster) -> str:
        """Suggests how to reduce the largest part of the memory."""
        sizes = dict(self.kept)
        largest = max(self.passing, key=self.passing.__getitem__)
        sizes[largest] = self.passing[largest]
        shares = config.elastic_shards or cluster.replicas
        narrower = _narrower(config.model)
        flags = {
            "data": "set input=host, use a smaller data set or a machine with more "
            "memory",
            "weights": narrower,
            "training": f"lower global_batch={config.global_batch}",
            "evaluation": f"{narrower}, or use smaller images: `global_batch` does not "
            "matter",
            "pictures": "use smaller images",
        }
        if config.global_batch <= shares:  # one image per share is the minimum
            flags["training"] = narrower
        part = max(sizes, key=sizes.__getitem__)
        return f"{part} takes {sizes[part] / GIB:.1f} GiB of it: {flags[part]}"

    def describe(
        self,
        config: Config,
        timetable: Timetable,
        data: Dataset,
        cluster: Cluster,
        decode_secs: float,
        choice: "InputChoice",
    ) -> list[str]:
        """Describes the plan of a training, and warns if memory may not suffice."""
        free, total = system.free_bytes(), timetable.total_steps
        lines = [
            f"{config.model.name}: {self.parameters:,} parameters, "
            f"{config.precision.value}, {cluster.replicas} replica(s) on "
            f"{cluster.workers} worker(s)",
            f"{data.name}: {len(data.learnt):,} to train on, {len(data.held_out):,} "
            f"held out, {_tested(data)}, decoded in {duration(decode_secs)}",
            f"{total:,} steps of {config.global_batch} images = "
            f"{format_epoch(timetable.epoch(total))} epochs; about "
            f"{self.memory_bytes / GIB:.1f} GiB of memory, {free / GIB:.1f} are free",
            f"{INPUTS[choice.source]} ({choice.why})",
        ]
        if config.train_steps is not None:
            lines.append(f"train_steps={config.train_steps} overrides `epochs`")
        if config.global_batch > len(data.learnt):
            lines.append(
                f"warning: a batch of {config.global_batch:,} is more than the "
                f"{len(data.learnt):,} images to train on, and has some of them twice; "
                f"lower `global_batch`, as to {_fitting_batch(len(data.learnt))}"
            )
        if self.memory_bytes > free:
            remedy = self.remedy(config, cluster)
            lines.append(f"warning: memory may not suffice; {remedy}")
        return lines


def _fitting_batch(images: int) -> int:
    """The largest power of two of which an epoch has four batches or more."""
    return 1 << (max(1, images // 4).bit_length() - 1)


def _tested(data: Dataset) -> str:
    if data.test is None:
        return "no test"
    return f"{len(data.test.labels):,} to test on"


def _narrower(config: ModelConfig) -> str:
    """Suggests a network with fewer weights."""
    width = config.kwargs.get("width")
    if width is None and config.name in registry.MODELS:
        width = registry.read_signature(config.name).parameters["width"].default
    return (
        "use a smaller network"
        if width is None
        else f"lower model_kwargs=width={width}"
    )


def _slots(config: Config) -> int:
    """Counts the arrays of the size of the weights, with those of the optimizer."""
    slots = 4 if config.optim.name is OptimizerName.ADAMW else 3
    slots += 2 * (config.optim.ema_decay is not None)
    # Gradients of all shards are kept until they are summed.
    return slots + (config.elastic_shards or 0)


def _own_bytes(images: np.ndarray) -> int:
    """Memory that `images` take in this process; of a mapped file, none."""
    return 0 if isinstance(images, np.memmap) else images.nbytes


@dataclasses.dataclass(frozen=True)
class InputChoice:
    """Where the steps have their images from: DEVICE or HOST, and why."""

    source: Input
    why: str


def choose_input(
    body: keras.Model,
    config: Config,
    run_config: RunConfig,
    cluster: Cluster,
    data: Dataset,
) -> InputChoice:
    """Chooses DEVICE where the training split fits on the devices, otherwise HOST.

    All workers take the images from the host if one of them has to.

    Raises:
        PeerLost: a worker was lost before it had chosen.
    """
    if run_config.input is not Input.AUTO:
        return InputChoice(run_config.input, f"input={run_config.input.value}")
    estimate = ResourceEstimate.from_shapes(body, config, cluster, data, Input.DEVICE)
    need, free = estimate.memory_bytes, system.free_bytes()
    if tf.config.list_logical_devices("GPU"):
        gpu = system.gpu_bytes()
        need, free = estimate.on_device, gpu and int(gpu * GPU_PART)
    fits = free is None or need <= free
    try:
        votes = gather(cluster, [int(fits)])
    except PEER_LOST as error:
        raise PeerLost(
            "a worker was lost while all chose their input; restart the whole group"
        ) from error
    if not fits:
        why = f"{need / GIB:.1f} GiB would be needed, {free / GIB:.1f} are free"
        return InputChoice(Input.HOST, f"on a device {why}")
    if not votes.all():
        return InputChoice(Input.HOST, "they do not fit on a device of another worker")
    return InputChoice(Input.DEVICE, "they fit")


# The backward pass computes gradients of weights and of inputs, each as costly as the
# forward pass (Kaplan et al. 2020, arXiv:2001.08361, section 2.1).
FLOP_PASSES = 3


def forward_flops(body: keras.Model) -> int:
    """Counts the FLOPs of convolutions and matrix products; a multiply-add is two."""
    return 2 * count_multiply_adds(body)


def training_flops(
    config: Config, plan: Timetable, image_shape: tuple[int, int, int], classes: int
) -> int:
    """Counts the FLOPs of all steps; the first `plan.small_steps` use small images."""

    def steps(count: int, shape: tuple[int, int, int]) -> int:
        model = builder.build_model(
            config.model, image_shape=shape, num_classes=classes
        )
        images = count * config.global_batch
        return FLOP_PASSES * forward_flops(model.get_layer("body")) * images

    total = steps(plan.total_steps - plan.small_steps, image_shape)
    if plan.small_steps:
        side = config.data.progressive_size
        total += steps(plan.small_steps, (side, side, image_shape[-1]))
    return total
