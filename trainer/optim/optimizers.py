"""The rate at a step, and the optimizer that is given gradients already summed."""

import typing
from typing import Any

import keras
from keras import ops

from trainer.config.enums import OptimizerName, Precision
from trainer.config.schema import Config, OptimConfig

if typing.TYPE_CHECKING:
    import keras

MOMENTUM = {OptimizerName.SGD: 0.9, OptimizerName.MUON: 0.6}
BIASES = ("bias", "beta")
NOT_DECAYED = ("gamma", *BIASES)


def build_optimizer(
    config: Config, weights: list["keras.Variable"]
) -> "keras.optimizers.Optimizer":
    """The optimizer of `weights`, its slots made; call it in the strategy's scope.

    It expects gradients that are summed over replicas already: only then is clipping
    exact and does an infinity on one replica reach all. In mixed_float16 it is wrapped
    in Keras' dynamic loss scaling.
    """
    import keras

    optim = config.optim
    common = {
        "name": optim.name.value,  # a counted name would differ within a process
        "learning_rate": optim.learning_rate,
        "weight_decay": optim.weight_decay or None,
        "use_ema": optim.ema_decay is not None,
        "ema_momentum": optim.ema_decay or 0.0,
    }
    momentum = MOMENTUM.get(optim.name) if optim.momentum is None else optim.momentum
    factor = optim.bias_scaler
    match optim.name:
        case OptimizerName.SGD:
            kind = _skip_all_reduce(keras.optimizers.SGD, factor)
            optimizer = kind(momentum=momentum, nesterov=momentum > 0, **common)
        case OptimizerName.ADAMW:
            optimizer = _skip_all_reduce(keras.optimizers.AdamW, factor)(**common)
        case OptimizerName.MUON:
            optimizer = _muon(optim, momentum, common)
        case _:
            typing.assert_never(optim.name)
    if optim.name is not OptimizerName.MUON:
        optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    if config.precision is Precision.MIXED_FLOAT16:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    optimizer.build(weights)
    return optimizer


def _muon(
    config: OptimConfig, momentum: float, common: dict[str, Any]
) -> "keras.optimizers.Optimizer":

    others = config.sgd_learning_rate / config.learning_rate
    kind = _skip_all_reduce(Muon, config.bias_scaler)
    return kind(kernel_momentum=momentum, others=others, **common)


def _skip_all_reduce(
    base: type["keras.optimizers.Optimizer"], bias_factor: float
) -> type:
    """`base`, but for summing gradients over replicas once more.

    Biases and offsets take steps `bias_factor` times as long ("scaled biases", Jordan
    2024, arXiv:2404.00498, section 3.4).
    """

    class Reduced(base):
        def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
            return grads_and_vars

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            # Here `variable` is a replica's: "stem_norm/beta/replica_1:0".
            parts = variable.name.partition(":")[0].split("/")
            if bias_factor != 1 and not {*parts[-2:]}.isdisjoint(BIASES):
                learning_rate = learning_rate * bias_factor
            super().update_step(gradient, variable, learning_rate)

    Reduced.__name__ = base.__name__
    return Reduced


NEWTON_SCHULZ_ITERATIONS = 3  # airbench94_muon needs no more for CIFAR-10
MUON_MOMENTUM = 0.85  # of all weights that are no kernels


class Muon(keras.optimizers.SGD):
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) on 4-D kernels.

    A kernel's momentum, as a matrix [inputs, outputs], is replaced by the nearest
    orthogonal one before it is applied, and the kernel is kept at the norm
    sqrt(outputs), so that `learning_rate` is the part of a kernel that a step changes.
    Keras' own Muon treats 2-D weights only and gives kernels of convolutions to AdamW;
    its Newton-Schulz iteration is what is used here. All other weights take an SGD step
    with Nesterov momentum at `learning_rate` times `others`, and decay.

    Args:
        kernel_momentum: of the gradients of kernels, summed.
        others: rate of weights that are no kernels, over `learning_rate`.
    """

    def __init__(self, *, kernel_momentum: float, others: float, **kwargs: Any) -> None:
        super().__init__(momentum=MUON_MOMENTUM, nesterov=True, **kwargs)
        self.kernel_momentum, self.others = kernel_momentum, others
        self._newton_schulz = keras.optimizers.Muon().zeropower_via_newtonschulz5

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable, as Keras' optimizers have it."""
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
