"""Exchange of small numbers between workers."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer.distributed.strategy import Cluster

# What the survivors' collectives raise when a worker is gone.
PEER_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)

HASH_BYTES = 7  # of a hash that workers compare: they fit an int64


def digest(sha256: str) -> int:
    """The part of a hash that workers compare."""
    return int.from_bytes(bytes.fromhex(sha256)[:HASH_BYTES], "big")


def gather(cluster: Cluster, numbers: list[int]) -> np.ndarray:
    """What every worker gave, int64 [workers, n]; each of them has to call it."""
    return WorkerExchange(cluster)(numbers)


class WorkerExchange:
    """An exchange of a few whole numbers between workers, compiled at its first call.

    One worker alone exchanges nothing. Two on one machine need about a millisecond.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._compiled = tf.function(self._exchange, autograph=False)

    def __call__(self, numbers: Sequence[int]) -> np.ndarray:
        """What every worker gave, int64 [workers, n]; each of them has to call it."""
        if self._cluster.workers == 1:
            return np.array([numbers], np.int64)
        gathered = self._compiled(tf.constant(numbers, tf.int64)).numpy()
        return gathered[:: self._cluster.replicas // self._cluster.workers]

    def _exchange(self, own: tf.Tensor) -> tf.Tensor:
        strategy = self._cluster.strategy
        gathered = strategy.run(_gather_replicas, args=(own,))
        return strategy.experimental_local_results(gathered)[0]


def _gather_replicas(own: tf.Tensor) -> tf.Tensor:
    return tf.distribute.get_replica_context().all_gather(own[None], axis=0)
