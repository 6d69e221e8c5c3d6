"""ServingModule: pixels -> probabilities, with normalisation and temperature inside.

Synopsis::

    network = ServingModule(model, temperature=1.3)
    network.probabilities(pixels)  # uint8 [N, H, W, C] -> float32 [N, K]
"""

import keras
import tensorflow as tf

from trainer.models.quantization import rewriting


class ServingModule(tf.Module):
    """A model's weights and functions over them; it is saved without its Keras model.

    Attributes:
        weights: every variable of the model, tracked for saving.
        image_shape: (H, W, C).
        is_rounded: whether the model was trained with `qat`: it rounds activations to
            ranges of its own, and `weights` are its rounded kernels.
    """

    def __init__(self, model: keras.Model, temperature: float) -> None:
        super().__init__()
        self.image_shape = tuple(model.input_shape[1:])
        body, normalise = model.get_layer("body"), model.get_layer("normalise")
        self.is_rounded = bool(rewriting.ranges(body))
        if self.is_rounded:
            body, temperature = rewriting.deployable(body, temperature), 1.0
        self.weights = [variable.value for variable in body.variables]

        def after_normalisation(normalised: tf.Tensor) -> tf.Tensor:
            return tf.nn.softmax(body(normalised, training=False) / temperature)

        # Kept as functions: a Keras model as an attribute would be saved with it.
        self._after = after_normalisation
        self._normalise = lambda pixels: normalise(pixels)

    def after_normalisation(self, normalised: tf.Tensor) -> tf.Tensor:
        """Probabilities float32 [N, K] of (pixel - 128) / 128, float32 [N, H, W, C]."""
        return self._after(normalised)

    def probabilities(self, pixels: tf.Tensor) -> tf.Tensor:
        """Probabilities float32 [N, K] of `pixels` uint8 [N, H, W, C]."""
        return self._after(self._normalise(pixels))
