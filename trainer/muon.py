"""Muon: orthogonal updates for convolutions, SGD for everything else."""

import keras
from keras import ops

ITERATIONS = 3  # of Newton and Schulz: airbench94_muon needs no more for CIFAR-10
MOMENTUM = 0.85  # of everything else


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

    def __init__(self, *, kernel_momentum: float, others: float, **kwargs) -> None:
        super().__init__(momentum=MOMENTUM, nesterov=True, **kwargs)
        self.kernel_momentum, self.others = kernel_momentum, others
        self._newton_schulz = keras.optimizers.Muon().zeropower_via_newtonschulz5

    def update_step(self, gradient, variable, learning_rate) -> None:
        """One step of one variable, as Keras' optimizers have it."""
        if len(variable.shape) == 4:
            self._orthogonal(gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate * self.others)

    def _orthogonal(self, gradient, variable, learning_rate) -> None:
        momentum = self.momentums[self._get_variable_index(variable)]
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(momentum, momentum * self.kernel_momentum + gradient)
        outputs, ahead = variable.shape[-1], momentum * self.kernel_momentum
        matrix = ops.reshape(gradient + ahead, (-1, outputs))
        update = ops.reshape(self._newton_schulz(matrix, ITERATIONS), variable.shape)
        norm = ops.sqrt(ops.sum(ops.square(variable)))
        kept = variable * (outputs**0.5 / norm)
        self.assign(variable, kept - ops.cast(learning_rate, variable.dtype) * update)
