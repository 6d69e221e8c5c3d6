"""Sums over shards of the global batch, equal on any number of replicas.

A floating-point sum depends on its order, so 1 and 2 replicas give different bits.
With elastic_shards=S the global batch is always computed as S shards of one shape,
whichever replica computes them, and their results are added from the first to the last.
Batch normalisation then uses one shard only: ghost batch norm (Hoffer et al. 2017).
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Measure = Callable[[tf.Tensor, tf.Tensor], Any]


def sharded_sum(
    measure: Measure, rows: tf.Tensor, first: tf.Tensor, *, size: int, dtype: str
) -> Any:
    """Sums the results of `measure` over all shards of the global batch.

    Call it in a replica context; every replica gets the same bits. The shards of a
    replica run one after the other, so that memory holds the activations of one shard.

    Args:
        measure: (int32 [size] rows, int32 [] position of the first in the global batch)
            -> nested tensors of `dtype`, with static shapes.
        rows: int32 [n * size], this replica's part of the global batch.
        first: int32 [], position of `rows[0]` in the global batch.
        size: number of examples in a shard.
        dtype: dtype of all results of `measure`.
    """
    nested = None

    def vector(start: tf.Tensor) -> tf.Tensor:
        nonlocal nested
        mine = tf.ensure_shape(rows[start : start + size], [size])
        nested = measure(mine, first + start)
        # One exchange of one vector is faster than one exchange for each variable.
        return pack(nested)

    own = tf.map_fn(
        vector,
        tf.range(0, rows.shape[0], size),
        parallel_iterations=1,
        fn_output_signature=dtype,
    )
    gathered = tf.distribute.get_replica_context().all_gather(own, axis=0)
    return unpack(ordered_sum(gathered), nested)


def ordered_sum(parts: tf.Tensor) -> tf.Tensor:
    """Adds the rows of [S, n] one after the other, from the first to the last: [n].

    It uses a loop, as the graph optimiser may reorder a chain of additions.
    """
    count = tf.shape(parts)[0]
    return tf.while_loop(
        lambda i, _: i < count,
        lambda i, sum_: (i + 1, sum_ + parts[i]),
        (tf.constant(1), parts[0]),
        parallel_iterations=1,
    )[1]


def pack(nested: Any) -> tf.Tensor:
    """Packs nested tensors of one type into a vector: [n]."""
    return tf.concat([tf.reshape(x, [-1]) for x in tf.nest.flatten(nested)], 0)


def unpack(vector: tf.Tensor, like: Any) -> Any:
    """Splits `vector` into nested tensors with the structure and shapes of `like`."""
    shapes = [x.shape for x in tf.nest.flatten(like)]
    parts = tf.split(vector, [shape.num_elements() for shape in shapes])
    shaped = [tf.reshape(x, s) for x, s in zip(parts, shapes, strict=True)]
    return tf.nest.pack_sequence_as(like, shaped)
