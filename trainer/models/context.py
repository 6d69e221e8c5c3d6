"""Forward context: what the layers of a training forward pass read and leave.

Keras passes layers nothing but tensors. Dropout masks and batch statistics go through a
context variable instead, so that layers hold no state of a generator.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator

import tensorflow as tf


@dataclasses.dataclass
class ForwardContext:
    """What the layers of one forward pass share while it is traced.

    Attributes:
        dropout_masks: uniform numbers for each dropout layer by its name, float32
            [n, features]; drawn before the forward pass, as XLA's generator would give
            others.
        statistics: the value towards which batch normalisation moves each of its
            variables, by the variable's path; the step averages them over replicas.
    """

    dropout_masks: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    statistics: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)


_current: contextvars.ContextVar[ForwardContext | None] = contextvars.ContextVar(
    "forward_context", default=None
)


@contextlib.contextmanager
def forward_context(context: ForwardContext) -> Iterator[ForwardContext]:
    """Makes `context` the one that layers called inside find with `current_context`."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def current_context() -> ForwardContext:
    """The context of the forward pass being traced.

    Raises:
        RuntimeError: a training forward pass outside `forward_context`.
    """
    context = _current.get()
    if context is None:
        raise RuntimeError(
            "training=True needs `with forward_context(...)` around the call"
        )
    return context
