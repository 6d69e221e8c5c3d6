"""Floating-point operations of a training: what it costs on any machine."""

import math

import keras

from trainer import models
from trainer.config import Config
from trainer.plan import Plan

# Backward is a gradient by the weights and one by the input, each the work of forward
# (Kaplan et al. 2020, arXiv:2001.08361, section 2.1).
PASSES = 3


def forward(body: keras.Model) -> int:
    """Of convolutions and dense layers for one image; a multiply-add is two."""
    kernels = [
        (layer.kernel.shape, layer.output.shape[1:-1])
        for layer in body.layers
        if hasattr(layer, "kernel")
    ]
    return sum(2 * math.prod(kernel) * math.prod(at) for kernel, at in kernels)


def training(
    config: Config, plan: Plan, image_shape: tuple[int, int, int], classes: int
) -> int:
    """Of all steps, the first `plan.small_steps` of them on small images."""

    def steps(count: int, shape: tuple[int, int, int]) -> int:
        model = models.build(config.model, image_shape=shape, num_classes=classes)
        images = count * config.global_batch
        return PASSES * forward(model.get_layer("body")) * images

    total = steps(plan.total_steps - plan.small_steps, image_shape)
    if plan.small_steps:
        side = config.data.small_pixels
        total += steps(plan.small_steps, (side, side, image_shape[-1]))
    return total
