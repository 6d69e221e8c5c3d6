"""Collectives: exchange a few integers between the workers of a job."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer.distributed.strategy import Cluster

# Errors that the collectives of the other workers raise when a worker is lost.
PEER_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)

HASH_BYTES = 7  # leading bytes of a hash that workers compare; they fit an int64


def digest(sha256: str) -> int:
    """Converts the first bytes of a hash to an integer that workers compare."""
    return int.from_bytes(bytes.fromhex(sha256)[:HASH_BYTES], "big")


def gather(cluster: Cluster, numbers: list[int]) -> np.ndarray:
    """Gathers the integers of all workers once: int64 [workers, n].

    Every worker has to call it.
    """
    return WorkerExchange(cluster)(numbers)


class WorkerExchange:
    """Gathers a few integers of all workers; compiled at its first call.

    A single worker exchanges nothing. Two on one machine need about a millisecond.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._compiled = tf.function(self._exchange, autograph=False)

    def __call__(self, numbers: Sequence[int]) -> np.ndarray:
        """Gathers the integers of all workers: int64 [workers, n].

        Every worker has to call it.
        """
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
