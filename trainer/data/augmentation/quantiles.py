"""Random numbers of any distribution: uniform ones through a table of its quantiles.

An interpolated table needs multiplication and addition only. Division, `tf.exp`,
`tf.sqrt` and samplers such as `tf.random.stateless_gamma` may round otherwise at the
end of a vector than in its middle, and then replicas with parts of a batch would draw
other bits than one replica with all of it.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

INTERVALS = 4096  # a power of two: the position in the table is exact


def tabulate(quantile: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Tabulates a function of probabilities 0..1: float32 [INTERVALS + 1]."""
    return quantile(np.linspace(0, 1, INTERVALS + 1)).astype(np.float32)


def tabulate_beta(alpha: float) -> np.ndarray:
    """Tabulates the quantiles of Beta(alpha, alpha)."""
    from scipy import special

    return tabulate(lambda share: special.betaincinv(alpha, alpha, share))


def interpolate(table: np.ndarray, drawn: tf.Tensor) -> tf.Tensor:
    """Looks up float32 numbers in [0, 1) in a table, linear between two entries."""
    at = drawn * INTERVALS
    below = tf.floor(at)
    index = tf.cast(below, tf.int64)  # see crops.INDEX
    low, high = (tf.gather(tf.constant(table), index + more) for more in (0, 1))
    return low + (at - below) * (high - low)
