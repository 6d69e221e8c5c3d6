"""Exchange of small numbers between workers."""

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

    def tell(own: tf.Tensor) -> tf.Tensor:
        return tf.distribute.get_replica_context().all_gather(own[None], axis=0)

    @tf.function(autograph=False)
    def exchange(own: tf.Tensor) -> tf.Tensor:
        told = cluster.strategy.run(tell, args=(own,))
        return cluster.strategy.experimental_local_results(told)[0]

    told = exchange(tf.constant(numbers, tf.int64)).numpy()
    return told[:: cluster.replicas // cluster.workers]
