"""Layers of ours in place of Keras' layers with state, and refusals by name."""

from typing import Any

import keras
from keras.src.layers.preprocessing.image_preprocessing import (
    base_image_preprocessing_layer,
)

from trainer.errors import InvalidInput
from trainer.models import layers

AXES = {  # of SpatialDropout: the mask's shape, with the batch first
    keras.layers.SpatialDropout1D: (None, 1, None),
    keras.layers.SpatialDropout2D: (None, 1, 1, None),
    keras.layers.SpatialDropout3D: (None, 1, 1, 1, None),
}
AUGMENTATION = {  # the option that does what a random layer does
    "RandomFlip": "augment=flip",
    "RandomCrop": "augment=flip_crop",
    "RandomTranslation": "augment=crop",
    "RandomZoom": "augment=resized_crop",
    "RandomErasing": "augment=flip_crop_cutout",
    "RandomBrightness": "color_jitter=0.4",
    "RandomContrast": "color_jitter=0.4",
    "RandomSaturation": "color_jitter=0.4",
    "RandomColorJitter": "color_jitter=0.4",
    "MixUp": "mixup=0.2",
    "CutMix": "cutmix=1",
}
ANY_AUGMENTATION = "randaugment_ops=2"
KEPT_IMAGE_LAYERS = (keras.layers.Resizing, keras.layers.CenterCrop)
ImageLayer = base_image_preprocessing_layer.BaseImagePreprocessingLayer
SEEDED = "keeps state that a resumed run and other replicas would not share"


def is_replaced(layer: keras.layers.Layer) -> bool:
    """Whether `build_replacement` knows the layer."""
    if type(layer) is keras.layers.BatchNormalization:
        return True
    return _is_random(layer)


def _is_random(layer: keras.layers.Layer) -> bool:
    kind = type(layer)
    return kind in RANDOM or kind in AXES or _is_convnext_depth(layer)


def _is_convnext_depth(layer: keras.layers.Layer) -> bool:
    kind = type(layer)
    return (
        kind.__name__ == "StochasticDepth"
        and kind.__module__ == "keras.src.applications.convnext"
    )


def build_replacement(
    layer: keras.layers.Layer,
    words: dict[str, Any],
    training: bool | None,
    network: str,
) -> keras.layers.Layer | None:
    """Builds our layer for one of Keras'; None where the call does nothing.

    Args:
        layer: a layer that `is_replaced`.
        words: name and dtype of the new layer.
        training: the argument of the call: False where its training state is fixed.
        network: the name of the network in messages.
    """
    if training:
        raise InvalidInput(
            f"layer {layer.name} ({type(layer).__name__}) of {network} is called with "
            "training=True, so that predictions would be random; leave `training` out"
        )
    if type(layer) is keras.layers.BatchNormalization:
        return _batch_norm(layer, words, training is False, network)
    if training is False:
        return None
    return _random(layer, words, network)


def _random(
    layer: keras.layers.Layer, words: dict[str, Any], network: str
) -> keras.layers.Layer:
    rate = getattr(layer, "rate", 0.0)
    if rate >= 1:
        raise InvalidInput(
            f"layer {layer.name} of {network} has rate={rate}; it must be below 1"
        )
    if type(layer) in AXES:
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise _channels_first(layer, network)
        return layers.Dropout(rate, noise_shape=AXES[type(layer)], **words)
    if _is_convnext_depth(layer):
        return layers.StochasticDepth(layer.drop_path_rate, **words)
    return RANDOM[type(layer)](layer, words, network)


def _masked(
    kind: type[keras.layers.Layer],
    layer: keras.layers.Layer,
    words: dict[str, Any],
    network: str,
) -> keras.layers.Layer:
    shape = layer.noise_shape
    if shape is not None and shape[0] is not None:
        raise InvalidInput(
            f"layer {layer.name} ({type(layer).__name__}) of {network} has noise_shape="
            f"{tuple(shape)}; it must begin with None: each example has its own mask"
        )
    return kind(layer.rate, noise_shape=shape, **words)


RANDOM = {
    keras.layers.Dropout: lambda x, words, network: _masked(
        layers.Dropout, x, words, network
    ),
    keras.layers.AlphaDropout: lambda x, words, network: _masked(
        layers.AlphaDropout, x, words, network
    ),
    keras.layers.GaussianDropout: lambda x, words, _: layers.GaussianDropout(
        x.rate, **words
    ),
    keras.layers.GaussianNoise: lambda x, words, _: layers.GaussianNoise(
        x.stddev, **words
    ),
}


def _batch_norm(
    layer: keras.layers.BatchNormalization,
    words: dict[str, Any],
    inference: bool,
    network: str,
) -> layers.BatchNorm:
    def check(fits: bool, found: str, remedy: str) -> None:
        if not fits:
            raise InvalidInput(
                f"layer {layer.name} (BatchNormalization) of {network} has {found}; "
                f"{remedy}"
            )

    rank = len(layer.input_spec.shape or ()) or layer.input_spec.ndim
    check(layer.axis in (-1, rank - 1), f"axis={layer.axis}", "it must be -1, the last")
    check(not getattr(layer, "renorm", False), "renorm=True", "leave it out")
    gain = _constant(layer.gamma_initializer)
    check(gain is not None, "gamma_initializer", "it must be a constant")
    fresh = [
        _constant(start)
        for start in (
            layer.beta_initializer,
            layer.moving_mean_initializer,
            layer.moving_variance_initializer,
        )
    ]
    check(fresh == [0, 0, 1], "initializers of its own", "only gamma's may be changed")
    return layers.BatchNorm(
        momentum=layer.momentum,
        epsilon=layer.epsilon,
        scale=layer.scale,
        gain=gain if layer.scale else None,
        center=layer.center,
        synchronized=layer.synchronized,
        inference=inference,
        trainable=layer.trainable,
        **words,
    )


def _constant(initializer: keras.initializers.Initializer) -> float | None:
    """The number that an initializer gives; None if it is no constant."""
    match initializer:
        case keras.initializers.Zeros():
            return 0.0
        case keras.initializers.Ones():
            return 1.0
        case keras.initializers.Constant():
            return float(initializer.value)
    return None


def check_kind(layer: keras.layers.Layer, network: str) -> None:
    """Raises InvalidInput if layers of this kind cannot be trained exactly."""
    kind, remedy = type(layer).__name__, None
    if isinstance(layer, keras.layers.Lambda):
        problem = "cannot be kept in the run"
        remedy = "write it with keras.ops or other layers"
    elif isinstance(layer, ImageLayer) and not isinstance(layer, KEPT_IMAGE_LAYERS):
        problem = SEEDED
        remedy = f"leave it out and use {AUGMENTATION.get(kind, ANY_AUGMENTATION)}"
    elif isinstance(layer, keras.layers.ActivityRegularization):
        problem, remedy = "adds a loss", "use `weight_decay` instead"
    if remedy:
        raise InvalidInput(
            f"layer {layer.name} ({kind}) of {network} {problem}; {remedy}"
        )
    _check_penalties(layer, network)


def _check_penalties(layer: keras.layers.Layer, network: str) -> None:
    for part in layer._flatten_layers():
        for word, value in vars(part).items():
            given = word.strip("_")
            if value is None or not given.endswith(("_regularizer", "_constraint")):
                continue
            remedy = "use `weight_decay` instead"
            if given.endswith("_constraint"):
                remedy = "leave it out"
            raise InvalidInput(
                f"layer {layer.name} ({type(layer).__name__}) of {network} has "
                f"{given}; {remedy}"
            )


def is_ours(layer: keras.Operation) -> bool:
    """Whether it is a layer of this package, whose state steps and replicas share."""
    return type(layer).__module__.startswith("trainer.")


def check_state(layer: keras.layers.Layer, network: str) -> None:
    """Raises InvalidInput if a layer that was called keeps state or seeds."""
    if is_ours(layer):
        return
    for part in layer._flatten_layers():
        unused = not getattr(part, "dropout", 1) and not getattr(
            part, "recurrent_dropout", 1
        )
        seeded = bool(part._seed_generators) and not unused
        if seeded or part._non_trainable_variables:
            inside = f", in its {part.name} ({type(part).__name__})"
            inside = "" if part is layer else inside
            remedy = "leave it out"
            if getattr(part, "dropout", 0) or _is_random(part):
                remedy = "set its dropout to 0 and put a Dropout layer behind it"
            raise InvalidInput(
                f"layer {layer.name} ({type(layer).__name__}) of {network} {SEEDED}"
                f"{inside}; {remedy}"
            )


def _channels_first(layer: keras.layers.Layer, network: str) -> InvalidInput:
    return InvalidInput(
        f"layer {layer.name} ({type(layer).__name__}) of {network} has data_format="
        "channels_first; images here are channels_last"
    )
