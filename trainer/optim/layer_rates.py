"""Layer rates: weights that an optimizer moves by a part of its update, or not yet.

The optimizer makes its usual update; then a weight w that was v before becomes
v + factor * (w - v), so that the factor applies to the learning rate and to the weight
decay of every optimizer alike. A weight that is frozen at first becomes v: its bits do
not change, nor do those of its averages.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf


@dataclasses.dataclass
class LayerRates:
    """How single layers differ from the learning rate of the others.

    Attributes:
        factors: factor on the update of a weight by its path; 1 where it is missing.
        frozen_layers: names of the layers that are frozen in the first `frozen_steps`.
        frozen_weights: paths of their trained weights.
        frozen_steps: number of first steps in which they are frozen.
        frozen: whether they are frozen in the present step, a scalar that the step
            assigns, as it assigns the learning rate; None: never.
    """

    factors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    frozen_layers: frozenset[str] = frozenset()
    frozen_weights: frozenset[str] = frozenset()
    frozen_steps: int = 0
    frozen: tf.Variable | None = None

    @property
    def differ(self) -> bool:
        """Whether any weight has a rate of its own."""
        return bool(self.factors or self.frozen_weights)

    def begin(self, step: tf.Tensor) -> None:
        """Assigns whether the layers are frozen in 0-based `step`."""
        if self.frozen is not None:
            self.frozen.assign(step < self.frozen_steps)

    def of_frozen(self, path: str) -> tf.Variable | None:
        """Whether the weight at `path` is frozen now; None if it never is."""
        return self.frozen if path in self.frozen_weights else None


class _LayerwiseUpdates:
    """Mixin of an optimizer whose weights have the rates `layer_rates`."""

    layer_rates: LayerRates

    def _path(self, variable: Any) -> str:
        return self._trainable_variables[self._get_variable_index(variable)].path

    def _has_own_rate(self, variable: Any) -> bool:
        path, rates = self._path(variable), self.layer_rates
        return path in rates.factors or path in rates.frozen_weights

    def _use_weight_decay(self, variable: Any) -> bool:
        own = self._has_own_rate(variable)  # update_step decays these
        return not own and super()._use_weight_decay(variable)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable."""
        if not self._has_own_rate(variable):
            super().update_step(gradient, variable, learning_rate)
            return
        path, rates = self._path(variable), self.layer_rates
        before = tf.identity(variable)
        if self.weight_decay and super()._use_weight_decay(variable):
            decay = tf.cast(self.weight_decay, variable.dtype)
            rate = tf.cast(learning_rate, variable.dtype)
            variable.assign_sub(variable * decay * rate)
        if path in rates.frozen_weights:
            learning_rate = learning_rate * _restart(self, rates.frozen_steps)
        super().update_step(gradient, variable, learning_rate)
        after, factor = tf.identity(variable), rates.factors.get(path, 1.0)
        if factor != 1:
            after = before + factor * (after - before)
        if (frozen := rates.of_frozen(path)) is not None:
            after = tf.where(frozen, before, after)
        variable.assign(after)

    def _update_model_variables_moving_average(self, weights: Any) -> None:
        super()._update_model_variables_moving_average(weights)
        averages = self._model_variables_moving_average if self.use_ema else []
        for weight, average in zip(weights, averages, strict=False):
            # m * x + (1 - m) * x is not x, so the average is set to it.
            if (frozen := self.layer_rates.of_frozen(weight.path)) is not None:
                average.assign(tf.where(frozen, weight.value, average.value))


def with_layer_rates(base: type, rates: LayerRates) -> type:
    """Derives an optimizer class from `base` whose weights have `rates`."""
    return type(base.__name__, (_LayerwiseUpdates, base), {"layer_rates": rates})


def _restart(optimizer: keras.optimizers.Optimizer, frozen_steps: int) -> Any:
    """Computes the factor that starts Adam's bias correction after `frozen_steps`.

    Until then gradients and moments are zero. With the correction of all steps the
    first update after it would be (1 - b1) / sqrt(1 - b2) = 3.2 times too large.
    """
    if not isinstance(optimizer, keras.optimizers.Adam):
        return 1.0
    steps = tf.cast(optimizer.iterations + 1, tf.float32)
    own = tf.maximum(1.0, steps - frozen_steps)

    def correction(count: tf.Tensor) -> tf.Tensor:
        first, second = optimizer.beta_1**count, optimizer.beta_2**count
        return tf.sqrt(1 - second) / (1 - first)

    return correction(own) / correction(steps)
