"""What the machine gives at best: single operations of TensorFlow and oneDNN.

python -m benchmarks.peak  # answers requests of benchmarks.subprocess_peer
"""

import math
import time
from collections.abc import Callable

import tensorflow as tf

from benchmarks import subprocess_peer
from trainer.distributed import strategy

DTYPES = {"float32": tf.float32, "bfloat16": tf.bfloat16}
SIDES = (1024, 2048, 4096)
# [B, H, W, C]: 3 x 3 convolutions from C to C channels, as in the networks measured.
CONVOLUTIONS = ((256, 32, 32, 32), (256, 16, 16, 64), (128, 16, 16, 256))
COPIED = 2**26  # elements, 256 MiB in float32: far more than the caches hold
PRODUCTS = {f"matmul {side}": (side, side) for side in SIDES} | {
    f"conv {'x'.join(map(str, shape))}": shape for shape in CONVOLUTIONS
}
COPY = "copy"


class Operation(subprocess_peer.Net):
    """One operation, repeated on its own result in a compiled loop.

    Args:
        name: a key of PRODUCTS, whose speed is in FLOP/s, or COPY: bytes read and
            written per second, in float32 whatever the precision: an addition of
            bfloat16 is limited by its arithmetic (2.9 GB/s where float32 had 15.4).
        precision: a key of DTYPES.
        threads: of the process; the first request decides.
    """

    def __init__(self, *, name: str, precision: str, threads: int) -> None:
        strategy.set_threads(threads)
        shape = PRODUCTS.get(name, (COPIED,))
        dtype = tf.float32 if name == COPY else DTYPES[precision]
        self._x = tf.cast(tf.random.stateless_normal(shape, (0, 0)), dtype)
        self._work, repeat = _operation(shape, dtype)

        def loop(steps: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
            return tf.while_loop(
                lambda done, _: done < steps,
                lambda done, now: (done + 1, repeat(now)),
                (0, x),
                parallel_iterations=1,
            )[1][..., :1]

        self._loop = tf.function(loop, autograph=False)

    def speed(self, steps: int) -> float:
        """Measures FLOP/s or bytes/s over `steps` repetitions."""
        start = time.perf_counter()
        self._loop(tf.constant(steps), self._x).numpy()
        return steps * self._work / (time.perf_counter() - start)


def _operation(
    shape: tuple[int, ...], dtype: tf.DType
) -> tuple[float, Callable[[tf.Tensor], tf.Tensor]]:
    """Returns what one repetition costs and what it computes.

    Weights are scaled so that numbers neither grow nor become denormal.
    """
    if len(shape) == 1:
        one = tf.ones([], dtype)
        return 2.0 * shape[0] * dtype.size, lambda x: x + one
    kernel = shape if len(shape) == 2 else (3, 3, shape[-1], shape[-1])
    inputs = math.prod(kernel[:-1])
    drawn = tf.random.stateless_normal(kernel, (0, 1)) / math.sqrt(inputs)
    weights = tf.cast(drawn, dtype)
    if len(shape) == 2:
        return 2.0 * math.prod(shape) * shape[0], lambda x: tf.matmul(x, weights)
    return 2.0 * math.prod(shape) * inputs, lambda x: tf.nn.conv2d(
        x, weights, 1, "SAME"
    )


if __name__ == "__main__":
    subprocess_peer.serve(Operation)
