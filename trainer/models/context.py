"""Forward context: values that layers exchange with the training step.

Keras passes only tensors to layers. Random numbers for dropout and batch statistics go
through a context variable instead, so that no layer holds the state of a generator.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator

import tensorflow as tf


@dataclasses.dataclass
class ForwardContext:
    """Values that the layers of one forward pass share while it is traced.

    Attributes:
        dropout_masks: uniform numbers of each dropout layer by its name, float32
            [n, features]; drawn before the forward pass, as XLA has another generator.
        statistics: batch statistics by the path of the moving variable that they
            update; the step averages them over replicas.
        frozen: names of layers that are not trained in this pass; those that normalise
            use their moving statistics.
    """

    dropout_masks: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    statistics: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    frozen: frozenset[str] = frozenset()


_current: contextvars.ContextVar[ForwardContext | None] = contextvars.ContextVar(
    "forward_context", default=None
)


@contextlib.contextmanager
def forward_context(context: ForwardContext) -> Iterator[ForwardContext]:
    """Makes `context` the current one for layers that are called within it."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def current_context() -> ForwardContext:
    """Returns the context of the forward pass that is being traced.

    Raises:
        RuntimeError: there is none: the call is outside `forward_context`.
    """
    context = _current.get()
    if context is None:
        raise RuntimeError(
            "training=True needs `with forward_context(...)` around the call"
        )
    return context
