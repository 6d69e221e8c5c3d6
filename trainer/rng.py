"""Random streams: numbers that depend only on seed, stream, step and position.

A counter-based generator (Philox, Salmon et al. 2011) computes them from (seed, stream
name, step, position in the global batch). So there is no generator state to keep, and a
replica draws exactly the rows that a single replica would draw for the same examples.
"""

import dataclasses
import hashlib
from collections.abc import Callable

import tensorflow as tf

PHILOX = 1
WORDS = 4  # 32-bit numbers in one Philox block


@dataclasses.dataclass(frozen=True)
class RandomStream:
    """Random numbers of the examples of one replica at one step.

    Attributes:
        seed: seed of the run.
        step: int64 [], 0-based.
        first: int64 [], position in the global batch of this replica's first example.
    """

    seed: int
    step: tf.Tensor
    first: tf.Tensor

    def uniform(self, stream: str, *, examples: int, features: int) -> tf.Tensor:
        """Draws numbers in [0, 1) from a stream: float32 [examples, features]."""
        draw = tf.raw_ops.StatelessRandomUniformV2
        return self._draw(draw, stream, examples, features)

    def normal(self, stream: str, *, examples: int, features: int) -> tf.Tensor:
        """Draws from N(0, 1): float32 [examples, features]."""
        draw = tf.raw_ops.StatelessRandomNormalV2
        return self._draw(draw, stream, examples, features)

    def _draw(
        self, draw: Callable[..., tf.Tensor], stream: str, examples: int, features: int
    ) -> tf.Tensor:
        blocks = -(-features // WORDS)
        digest = hashlib.sha256(f"{self.seed}/{stream}".encode()).digest()
        key = tf.constant([int.from_bytes(digest[:8], "little")], tf.uint64)
        counter = tf.cast(tf.stack([self.first * blocks, self.step]), tf.uint64)
        shape = [examples, blocks * WORDS]
        return draw(shape=shape, key=key, counter=counter, alg=PHILOX)[:, :features]
