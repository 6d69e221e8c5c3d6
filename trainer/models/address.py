"""Address: which examples of which step a replica is computing.

Random numbers are read from a counter-based generator (Philox, Salmon et al. 2011) at
(seed, stream name, step, position in the global batch). So there is no generator state
to keep, and a replica draws exactly its rows of what one replica would draw alone.
"""

import contextlib
import contextvars
import dataclasses
import hashlib
from collections.abc import Iterator

import tensorflow as tf

PHILOX = 1
WORDS = 4  # 32-bit numbers in one Philox block


@dataclasses.dataclass
class Address:
    """Where a replica is while its forward pass is traced.

    Attributes:
        seed: of the run.
        step: int64 [], 0-based.
        first: int64 [], position in the global batch of this replica's first example.
        statistics: (variable, momentum, value) that batch normalisation leaves; the
            step averages the values over replicas and moves the variables towards them.
        drawn: numbers for each dropout layer by its name, float32 [n, features]; drawn
            before the forward pass, as XLA's generator would give others.
    """

    seed: int
    step: tf.Tensor
    first: tf.Tensor
    statistics: list[tuple[tf.Variable, float, tf.Tensor]] = dataclasses.field(
        default_factory=list
    )
    drawn: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)

    def uniform(self, stream: str, *, examples: int, features: int) -> tf.Tensor:
        """Numbers in [0, 1), float32 [examples, features], of the named stream."""
        blocks = -(-features // WORDS)
        digest = hashlib.sha256(f"{self.seed}/{stream}".encode()).digest()
        key = tf.constant([int.from_bytes(digest[:8], "little")], tf.uint64)
        counter = tf.cast(tf.stack([self.first * blocks, self.step]), tf.uint64)
        drawn = tf.raw_ops.StatelessRandomUniformV2(
            shape=[examples, blocks * WORDS], key=key, counter=counter, alg=PHILOX
        )
        return drawn[:, :features]


_current: contextvars.ContextVar[Address | None] = contextvars.ContextVar(
    "address", default=None
)


@contextlib.contextmanager
def at(address: Address) -> Iterator[Address]:
    """Layers called inside read their address with `current`."""
    token = _current.set(address)
    try:
        yield address
    finally:
        _current.reset(token)


def current() -> Address:
    """The address of the forward pass being traced.

    Raises:
        RuntimeError: a training forward pass outside `at`.
    """
    address = _current.get()
    if address is None:
        raise RuntimeError("training=True needs `with address.at(...)` around the call")
    return address
