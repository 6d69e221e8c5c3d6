"""Keras' `fit` on the layers of one of our networks, with tf.data."""

import time

import keras
import numpy as np
import tensorflow as tf

from trainer.config.schema import Config
from trainer.models import builder, layers


class Fit:
    """Trains with Keras' `fit` on the same layers, data and augmentation.

    Args:
        settings: model, rate, batch and precision.
        images: uint8 [N, H, W, C], all training images.
        labels: integers [N].
        classes: number of classes.
    """

    def __init__(
        self, settings: Config, images: np.ndarray, labels: np.ndarray, classes: int
    ) -> None:
        built = builder.build_model(
            settings.model,
            image_shape=images.shape[1:],
            num_classes=classes,
            precision=settings.precision.value,
        )
        keras.config.set_dtype_policy(settings.precision.value)
        self._model = keras.models.clone_model(
            built.get_layer("body"), clone_function=_own
        )
        keras.config.set_dtype_policy("float32")
        self._model.compile(
            optimizer=keras.optimizers.AdamW(settings.optim.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        self._count = settings.global_batch
        self._batches = (
            tf.data.Dataset.from_tensor_slices((images, labels))
            .shuffle(len(images), seed=0)
            .repeat()
            .map(_vary, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(settings.global_batch)
            .prefetch(tf.data.AUTOTUNE)
        )
        self._model.fit(self._batches, steps_per_epoch=5, epochs=1, verbose=0)

    def speed(self, steps: int) -> float:
        """Measures images per second over `steps` steps."""
        start = time.perf_counter()
        self._model.fit(self._batches, steps_per_epoch=steps, epochs=1, verbose=0)
        return steps * self._count / (time.perf_counter() - start)


def _own(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Replaces our layers by those of Keras."""
    if isinstance(layer, layers.Dropout):
        return keras.layers.Dropout(layer.rate, name=layer.name)
    if isinstance(layer, layers.BatchNorm):
        return keras.layers.BatchNormalization(name=layer.name)
    return layer.__class__.from_config(layer.get_config())


def _vary(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    padded = tf.pad(image, [[4, 4], [4, 4], [0, 0]], mode="REFLECT")
    cropped = tf.image.random_crop(padded, image.shape, seed=1)
    flipped = tf.image.random_flip_left_right(cropped, seed=2)
    return (tf.cast(flipped, tf.float32) - 128) / 128, label
