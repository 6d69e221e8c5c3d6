"""The networks of keras.applications with our head, for raw pixels.

Each is built without weights and without its top: what Keras' `preprocess_input` does
to pixels 0..255 becomes a Rescaling in front, global average pooling follows, then
dropout and a dense layer. Weights of ImageNet fit it as they are.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from trainer.errors import InvalidInput, first_line
from trainer.models.lookup import application_signatures

# Of ImageNet's pixels 0..1, by channel. EfficientNetB0 to B7 have them in a layer that
# takes its numbers from a file of weights; what this file has is mended by a second
# layer that Keras adds with it: both together are these numbers.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network(name: str) -> Callable[..., keras.Model]:
    """Returns the function (num_classes, image_shape, *, options) of `keras:NAME`.

    Raises:
        InvalidConfig: keras.applications has no such network.
    """
    application = getattr(
        keras.applications, application_signatures.function_name(name)
    )

    def build(
        num_classes: int,
        image_shape: tuple[int, int, int],
        *,
        dropout: float = 0.0,
        sync_batch_norm: bool = False,
        **options: Any,
    ) -> keras.Model:
        _check_channels(name, image_shape)
        backbone = _build_backbone(name, application, image_shape, options)
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = sync_batch_norm
        x = backbone.output
        if dropout:
            x = keras.layers.Dropout(dropout, name="dropout")(x)
        logits = keras.layers.Dense(num_classes, name="classes")(x)
        return keras.Model(backbone.input, logits, name=application.__name__)

    known = application_signatures.read_signature(name).parameters
    build.__signature__ = application_signatures.signature_of_call(known)
    build.__name__ = name
    return build


def _check_channels(name: str, image_shape: tuple[int, int, int]) -> None:
    if image_shape[2] != 3:
        raise InvalidInput(
            f"model={name} takes images of three channels, these have {image_shape[2]};"
            "\nset channels=3 if they are image files, or take a network of ours"
        )


def _build_backbone(
    name: str,
    application: Callable[..., keras.Model],
    image_shape: tuple[int, int, int],
    options: Mapping[str, Any],
) -> keras.Model:
    """Builds the network on pixels 0..255, up to its pooled features [N, C]."""
    pixels = keras.Input(image_shape, name="pixels")
    try:
        backbone = application(
            include_top=False,
            weights=None,
            input_tensor=_preprocess(application, pixels),
            input_shape=image_shape,
            pooling="avg",
            **options,
        )
    except ValueError as error:
        height, width, _ = image_shape
        raise InvalidInput(
            f"model={name} cannot be built for images of {height} x {width}: "
            f"{first_line(error)};\ntake larger images (`image_size` for image files) "
            "or other `model_kwargs`"
        ) from error
    for layer in backbone.layers:
        normalises = isinstance(layer, keras.layers.Normalization)
        if normalises and layer.input_mean is None:
            layer.adapt_mean.assign(MEAN)
            layer.adapt_variance.assign(np.square(STD))
            layer.finalize_state()
    return backbone


def _preprocess(
    application: Callable[..., keras.Model], pixels: keras.KerasTensor
) -> keras.KerasTensor:
    """Applies the `preprocess_input` of an application, as operators and one layer.

    Where the application scales its input itself, it does nothing.
    """
    preprocess = sys.modules[application.__module__].preprocess_input
    black = preprocess(np.zeros((1, 1, 3)))[0, 0]
    # Row i of an identity matrix is a pixel whose channel i alone is 255.
    change = (preprocess(255 * np.eye(3)[None])[0] - black) / 255
    if np.array_equal(change, np.eye(3)) and not black.any():
        return pixels
    if change[0, 0] == 0:  # BGR
        pixels, change = pixels[..., ::-1], change[::-1]
    scale = np.diag(change)
    if not np.array_equal(change, np.diag(scale)):
        raise NotImplementedError(f"{application.__name__} mixes channels")
    rescaling = keras.layers.Rescaling(
        scale.tolist(), black.tolist(), name="preprocessing"
    )
    return rescaling(pixels)
