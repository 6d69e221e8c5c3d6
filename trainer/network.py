"""Network, optimizer, compiled step and evaluator, from a Config and data."""

import keras

from trainer import cluster, data, models, optim, plan, steps, taught
from trainer.augment import AlternatingFlip
from trainer.choices import Flip
from trainer.commandline import UsageError
from trainer.config import Config
from trainer.evaluation import Evaluator
from trainer.images import Images
from trainer.run_config import RunConfig
from trainer.state import TrainState

ADAPT_IMAGES = 5000  # of the learnt ones: 4.8 million patches of 2x2 pixels


def build(
    config: Config, connected: cluster.Cluster, held: data.Data, planned: plan.Plan
) -> tuple[TrainState, Images, steps.Trainer]:
    """Network, optimizer and compiled step, in the strategy's scope.

    Raises:
        UsageError: the network does not take these images.
    """
    _check_small(config, held)
    keras.utils.set_random_seed(config.seed)
    with connected.strategy.scope():
        try:
            model = models.build(
                config.model,
                image_shape=held.image_shape,
                num_classes=len(held.train.names),
                precision=config.precision.value,
            )
        except ValueError as error:
            raise UsageError(
                f"--model={config.model.name} does not take images of "
                f"{held.image_shape}; they may be too small for it"
            ) from error
        optimizer = optim.build(config, model.trainable_variables)
        models.adapt(model, held.train.images[held.learnt[:ADAPT_IMAGES]])
    images = taught.images(config, held, connected)
    trainer = steps.Trainer(
        config,
        connected,
        model,
        optimizer,
        images,
        small_steps=planned.small_steps,
        flips=_flips(config, held),
    )
    return TrainState(model, optimizer, trainer.averages), images, trainer


def _flips(config: Config, held: data.Data) -> AlternatingFlip | None:
    if config.data.flip is not Flip.ALTERNATING:
        return None
    return AlternatingFlip(
        examples=len(held.train.labels),
        epoch_images=len(held.learnt),
        seed=config.seed,
    )


def _check_small(config: Config, held: data.Data) -> None:
    small, side = config.data.small_pixels, min(held.image_shape[:2])
    if small is None:
        return
    if config.model.name not in models.ANY_SIZE:
        raise UsageError(
            f"--small_pixels={small} needs a network for images of any size "
            f"({', '.join(models.ANY_SIZE)}), got --model={config.model.name}"
        )
    if small >= side:
        raise UsageError(
            f"--small_pixels={small} must be below the images' {side}; leave it out"
        )


def evaluator(
    config: Config, run_config: RunConfig, connected: cluster.Cluster, held: data.Data
) -> Evaluator:
    """The same network in float32 on one device."""
    return Evaluator(
        config.model,
        image_shape=held.image_shape,
        num_classes=len(held.train.names),
        device=connected.local_devices[0],
        tta=run_config.eval_tta,
    )
