"""Builds network, optimizer, compiled step and evaluator from config and data."""

import contextlib
import dataclasses
import re
from typing import Any

import keras
import numpy as np

from trainer.config.enums import Flip
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.data import sampler
from trainer.data.augmentation.crops import AlternatingFlip
from trainer.data.dataset import Dataset
from trainer.data.device_dataset import DeviceDataset
from trainer.data.split import ImageRows
from trainer.distillation import targets
from trainer.distributed.strategy import Cluster
from trainer.errors import InvalidInput
from trainer.models import architecture, builder, registry
from trainer.models.evaluator import Evaluator
from trainer.models.lookup import signatures
from trainer.models.lookup.own_network import NetworkFile
from trainer.models.lookup.signatures import Signature
from trainer.models.quantization import rewriting
from trainer.optim import class_weights, optimizers
from trainer.optim.layer_rates import LayerRates
from trainer.pretrained import first_weights, freezing, matching
from trainer.training import estimate
from trainer.training.estimate import InputChoice
from trainer.training.state import TrainState
from trainer.training.step import TrainStep
from trainer.training.timetable import Timetable

ADAPT_IMAGES = 5000  # training images for `adapt`: 4.8 million patches of 2x2 pixels


@dataclasses.dataclass(frozen=True)
class TrainingNetwork:
    """A network with its optimizer, its training data and its compiled step.

    Attributes:
        pretrained: what was taken from `init_from`; None without it.
    """

    state: TrainState
    images: DeviceDataset
    train_step: TrainStep
    input_choice: InputChoice
    pretrained: dict[str, Any] | None


def build_network(
    config: Config,
    run_config: RunConfig,
    cluster: Cluster,
    dataset: Dataset,
    timetable: Timetable,
) -> TrainingNetwork:
    """Builds network, optimizer and compiled step in the strategy's scope.

    Raises:
        InvalidInput: the network does not accept images of this size, or does not fit
            the weights that it starts from.
    """
    _check_small(config, dataset)
    keras.utils.set_random_seed(config.seed)
    with cluster.strategy.scope():
        model = _build_model(config, dataset)
        body = model.get_layer("body")
        rates = freezing.freeze(body, config, timetable.frozen_steps)
        optimizer = optimizers.build_optimizer(config, model.trainable_variables, rates)
        rows = dataset.learnt[:ADAPT_IMAGES]
        builder.adapt(model, ImageRows(dataset.train.images, rows))
        pretrained = _load_pretrained(model, config, run_config, dataset, rates)
    choice = estimate.choose_input(body, config, run_config, cluster, dataset)
    images = targets.build_device_dataset(config, dataset, cluster, choice.source)
    train_step = TrainStep(
        config,
        cluster,
        model,
        optimizer,
        images,
        small_steps=timetable.small_steps,
        flips=_flips(config, dataset),
        class_weights=_class_weights(config, dataset),
        layer_rates=rates,
    )
    state = TrainState(model, optimizer, train_step.averages)
    return TrainingNetwork(state, images, train_step, choice, pretrained)


def _load_pretrained(
    model: keras.Model,
    config: Config,
    run_config: RunConfig,
    dataset: Dataset,
    rates: LayerRates,
) -> dict[str, Any] | None:
    """Loads the weights of `init_from` into `model`; describes what was taken."""
    sha256 = config.model.init_sha256
    if sha256 is None:
        return None
    body, option = model.get_layer("body"), f"init_from={run_config.init_from}"
    target = _float_body(config, dataset) if config.model.qat else body
    stored = first_weights.load(config, run_config)
    found = matching.match(target, stored, option)
    if stored.classes not in (None, list(dataset.train.names)):
        found = matching.without_head(target, found)
    matching.assign(target, found)
    if config.model.qat:
        matching.check_complete(found, option)
        rewriting.fold_weights(target, body)
        rewriting.calibrate(body, _normalised_sample(model, dataset))
    return {
        "from": run_config.init_from,
        "sha256": sha256,
        **found.recorded(),
        "frozen": freezing.frozen_names(body, rates),
        "frozen_steps": rates.frozen_steps,
    }


def _float_body(config: Config, dataset: Dataset) -> keras.Model:
    """Builds the network that a `qat` run starts from."""
    plain = dataclasses.replace(config.model, qat=False)
    model = _build_model(dataclasses.replace(config, model=plain), dataset)
    return model.get_layer("body")


def _normalised_sample(model: keras.Model, dataset: Dataset) -> np.ndarray:
    """Returns normalised training images, evenly spread, that first ranges are of."""
    places = sampler.spread_rows(len(dataset.learnt), rewriting.IMAGES)
    pixels = ImageRows(dataset.train.images, dataset.learnt[places])[:]
    return model.get_layer("normalise")(pixels).numpy()


def describe_network(
    config: Config, dataset: Dataset, file: NetworkFile | None, given: Any
) -> Config:
    """Builds a network that is no function of ours, once, to describe it.

    Args:
        config: its architecture is PENDING.
        dataset: its images and classes decide the shapes.
        file: the source file of the network that `config` names, if it has one.
        given: the function or Keras model of a script; None: the one that is named.

    Returns:
        `config` with the architecture that the training is built from.

    Raises:
        InvalidInput: the network cannot be imported or built, or keeps state that a
            resumed run would not share.
    """
    keras.utils.set_random_seed(config.seed)
    if given is None:
        given = registry.import_network(config.model, file)
    if not callable(given):
        raise InvalidInput(f"model={config.model.name} is {given!r:.60}, no function")
    options = _options(config, given)
    explained = file.explained("cannot be built") if file else contextlib.nullcontext()
    with explained:
        described = architecture.describe(
            given,
            options,
            image_shape=dataset.image_shape,
            num_classes=len(dataset.train.names),
            precision=config.precision.value,
        )
    _check_classes(described, config.model.name)
    _check_synchronized(described, config)
    model = dataclasses.replace(config.model, architecture=described)
    return dataclasses.replace(config, model=model)


def _check_classes(described: str, name: str) -> None:
    """Refuses classes of the user's code: no command runs it to open a run."""
    for kind in re.finditer(r'"module": "([\w.]+)"', described):
        if kind[1].split(".")[0] not in ("keras", "trainer", "builtins"):
            raise InvalidInput(
                f"model={name} has a layer or another class of {kind[1]}, which would "
                "be missing where its run is opened; build it of Keras' layers in a "
                "function"
            )


def _check_synchronized(described: str, config: Config) -> None:
    """Refuses what `sync_batch_norm` cannot be combined with, as Config does."""
    word = "`jit_compile`" if config.jit_compile else None
    if config.elastic_shards is not None:
        word = f"elastic_shards={config.elastic_shards}"
    if word and architecture.is_synchronized(described):
        raise InvalidInput(
            f"{word} cannot be combined with BatchNormalization(synchronized=True), "
            f"which model={config.model.name} has; leave one out"
        )


def _options(config: Config, given: Any) -> dict[str, Any]:
    """The keyword arguments of a function; a Keras model has none."""
    known = Signature({})
    if not isinstance(given, keras.Model):
        known = signatures.inspect_signature(given, f"model={config.model.name}")
    signatures.check_against(config.model, known, {})
    return signatures.complete_options(config.model, known)


def _build_model(config: Config, dataset: Dataset) -> keras.Model:
    try:
        return builder.build_model(
            config.model,
            image_shape=dataset.image_shape,
            num_classes=len(dataset.train.names),
            precision=config.precision.value,
        )
    except InvalidInput:
        raise
    except ValueError as error:
        raise InvalidInput(
            f"model={config.model.name} does not take images of "
            f"{dataset.image_shape}; they may be too small for it"
        ) from error


def _flips(config: Config, dataset: Dataset) -> AlternatingFlip | None:
    if config.data.flip is not Flip.ALTERNATING:
        return None
    return AlternatingFlip(
        examples=len(dataset.train.labels),
        epoch_images=len(dataset.learnt),
        seed=config.seed,
    )


def _class_weights(config: Config, dataset: Dataset) -> np.ndarray | None:
    labels, names = dataset.train.labels[dataset.learnt], dataset.train.names
    return class_weights.class_weights(labels, names, config.optim.class_weight)


def _check_small(config: Config, dataset: Dataset) -> None:
    small, side = config.data.progressive_size, min(dataset.image_shape[:2])
    if small is None:
        return
    if config.model.name not in registry.ANY_SIZE:
        raise InvalidInput(
            f"progressive_size={small} needs a network for images of any size "
            f"({', '.join(registry.ANY_SIZE)}), got model={config.model.name}"
        )
    if small >= side:
        raise InvalidInput(
            f"progressive_size={small} must be below the images' {side}; leave it out"
        )


def build_evaluator(
    config: Config,
    run_config: RunConfig,
    cluster: Cluster,
    dataset: Dataset,
) -> Evaluator:
    """Builds an evaluator of the network in float32 on one device."""
    return Evaluator(
        config.model,
        image_shape=dataset.image_shape,
        num_classes=len(dataset.train.names),
        device=cluster.local_devices[0],
        tta=run_config.eval_tta,
    )
