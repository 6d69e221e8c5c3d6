"""Shards: parts of the global batch that are the same on any number of replicas.

A sum in floating point depends on its order, so 1 and 2 replicas end in other bits.
With --elastic_shards=S the global batch is always computed as S parts of one shape,
whichever replica computes them, and what they give is added from the first to the last.
Batch normalisation then knows its shard only: ghost batch norm (Hoffer et al. 2017).
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Measure = Callable[[tf.Tensor, tf.Tensor], Any]


def sharded_sum(
    measure: Measure, rows: tf.Tensor, first: tf.Tensor, *, size: int, dtype: str
) -> Any:
    """The sum of what `measure` gives of every shard of the global batch.

    To be called in a replica's context; every replica gets the same bits. A replica's
    shards run one after the other: activations of one at a time are in memory, and each
    has the threads to itself as far as other replicas let it.

    Args:
        measure: (int32 [size] rows, int32 [] position of the first in the global batch)
            -> nested tensors of `dtype`, with static shapes.
        rows: int32 [n * size], this replica's part of the global batch.
        first: int32 [], position of `rows[0]` in the global batch.
        size: examples in a shard.
        dtype: of all that `measure` gives.
    """
    nested = None

    def vector(start: tf.Tensor) -> tf.Tensor:
        nonlocal nested
        mine = tf.ensure_shape(rows[start : start + size], [size])
        nested = measure(mine, first + start)
        # One vector: one exchange is faster than one for every variable.
        return tf.concat([tf.reshape(x, [-1]) for x in tf.nest.flatten(nested)], 0)

    own = tf.map_fn(
        vector,
        tf.range(0, rows.shape[0], size),
        parallel_iterations=1,
        fn_output_signature=dtype,
    )
    gathered = tf.distribute.get_replica_context().all_gather(own, axis=0)
    return _unpacked(ordered_sum(gathered), nested)


def ordered_sum(parts: tf.Tensor) -> tf.Tensor:
    """((parts[0] + parts[1]) + parts[2]) + ...: [S, n] -> [n].

    A loop, as the graph optimiser may rewrite a chain of additions.
    """
    count = tf.shape(parts)[0]
    return tf.while_loop(
        lambda i, _: i < count,
        lambda i, sum_: (i + 1, sum_ + parts[i]),
        (tf.constant(1), parts[0]),
        parallel_iterations=1,
    )[1]


def _unpacked(vector: tf.Tensor, like: Any) -> Any:
    """The nested tensors that `vector` holds, in the shapes of those in `like`."""
    shapes = [x.shape for x in tf.nest.flatten(like)]
    parts = tf.split(vector, [shape.num_elements() for shape in shapes])
    shaped = [tf.reshape(x, s) for x, s in zip(parts, shapes, strict=True)]
    return tf.nest.pack_sequence_as(like, shaped)
