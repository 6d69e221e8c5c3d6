"""Optimizers that take gradients which are already summed over replicas."""

import typing
from typing import Any

import keras
from keras import ops

from trainer.config.enums import OptimizerName, Precision
from trainer.config.schema import Config
from trainer.optim.layer_rates import LayerRates, with_layer_rates

MOMENTUM = {OptimizerName.SGD: 0.9, OptimizerName.MUON: 0.6}
BIASES = ("bias", "beta")
NOT_DECAYED = ("gamma", *BIASES)


def build_optimizer(
    config: Config,
    weights: list[keras.Variable],
    rates: LayerRates | None = None,
) -> keras.optimizers.Optimizer:
    """Builds the optimizer of `weights` and its variables, in the strategy's scope.

    It expects gradients that are already summed over replicas: only then is clipping
    exact, and an infinity on one replica reaches all. In mixed_float16 it is wrapped in
    Keras' dynamic loss scaling. `rates` are those of single layers, if they differ.
    """
    optim, rates = config.optim, rates or LayerRates()
    common = {
        "name": optim.name.value,  # Keras would number a second one in the process
        "learning_rate": optim.learning_rate,
        "weight_decay": optim.weight_decay or None,
        "use_ema": optim.ema_decay is not None,
        "ema_momentum": optim.ema_decay or 0.0,
    }
    momentum = MOMENTUM.get(optim.name) if optim.momentum is None else optim.momentum
    factor = optim.bias_scaler
    match optim.name:
        case OptimizerName.SGD:
            kind = _derive(keras.optimizers.SGD, factor, rates)
            optimizer = kind(momentum=momentum, nesterov=momentum > 0, **common)
        case OptimizerName.ADAMW:
            common["weight_decay"] = optim.weight_decay  # AdamW refuses None
            optimizer = _derive(keras.optimizers.AdamW, factor, rates)(**common)
        case OptimizerName.MUON:
            kind = _derive(Muon, factor, rates)
            others = optim.sgd_learning_rate / optim.learning_rate
            optimizer = kind(kernel_momentum=momentum, others=others, **common)
        case _:
            typing.assert_never(optim.name)
    if optim.name is not OptimizerName.MUON:
        optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    if config.precision is Precision.MIXED_FLOAT16:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    optimizer.build(weights)
    return optimizer


def _derive(
    base: type[keras.optimizers.Optimizer], bias_factor: float, rates: LayerRates
) -> type:
    derived = _skip_all_reduce(base, bias_factor)
    return with_layer_rates(derived, rates) if rates.differ else derived


def _skip_all_reduce(
    base: type[keras.optimizers.Optimizer], bias_factor: float
) -> type:
    """Derives an optimizer class that does not sum gradients over replicas again.

    The learning rate of biases is multiplied by `bias_factor` ("scaled biases", Jordan
    2024, arXiv:2404.00498, section 3.4).
    """

    class Reduced(base):
        def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
            return grads_and_vars

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            # The name is that of a replica's variable: "stem_norm/beta/replica_1:0".
            parts = variable.name.partition(":")[0].split("/")
            if bias_factor != 1 and not {*parts[-2:]}.isdisjoint(BIASES):
                learning_rate = learning_rate * bias_factor
            super().update_step(gradient, variable, learning_rate)

    Reduced.__name__ = base.__name__
    return Reduced


NEWTON_SCHULZ_ITERATIONS = 3  # as in airbench94_muon for CIFAR-10
MUON_MOMENTUM = 0.85  # momentum of all weights other than 4-D kernels


class Muon(keras.optimizers.SGD):
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for 4-D kernels.

    The momentum of a kernel, as a matrix [inputs, outputs], is replaced by the nearest
    orthogonal matrix before it is applied, and the kernel is scaled to the norm
    sqrt(outputs), so that `learning_rate` is the relative change of a kernel in a step.
    Keras' own Muon handles 2-D weights only and updates convolution kernels by AdamW;
    this class uses its Newton-Schulz iteration. All other weights take an SGD step with
    Nesterov momentum and weight decay at `learning_rate` times `others`.

    Args:
        kernel_momentum: momentum of the gradients of kernels, which are summed.
        others: learning rate of all other weights, divided by `learning_rate`.
    """

    def __init__(self, *, kernel_momentum: float, others: float, **kwargs: Any) -> None:
        super().__init__(momentum=MUON_MOMENTUM, nesterov=True, **kwargs)
        self.kernel_momentum, self.others = kernel_momentum, others
        self._newton_schulz = keras.optimizers.Muon().zeropower_via_newtonschulz5

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable."""
        if len(variable.shape) == 4:
            self._orthogonal(gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate * self.others)

    def _orthogonal(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        momentum = self.momentums[self._get_variable_index(variable)]
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(momentum, momentum * self.kernel_momentum + gradient)
        outputs, ahead = variable.shape[-1], momentum * self.kernel_momentum
        matrix = ops.reshape(gradient + ahead, (-1, outputs))
        update = ops.reshape(
            self._newton_schulz(matrix, NEWTON_SCHULZ_ITERATIONS), variable.shape
        )
        norm = ops.sqrt(ops.sum(ops.square(variable)))
        kept = variable * (outputs**0.5 / norm)
        self.assign(variable, kept - ops.cast(learning_rate, variable.dtype) * update)
