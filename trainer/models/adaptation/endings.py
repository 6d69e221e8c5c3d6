"""The end of a Keras classifier: which layer turns its logits into probabilities."""

from collections.abc import Iterator

import keras

from trainer.errors import InvalidInput

SOFTMAX = ("softmax", "log_softmax")
ACTIVATIONS = {  # layers and operators that are activations, and their names
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
}
PASSING = (keras.layers.Reshape, keras.layers.Flatten, keras.layers.Identity)


def graph_of(model: keras.Model) -> keras.Function:
    """The functional graph of a functional or Sequential model."""
    return model._functional if isinstance(model, keras.Sequential) else model


def find_softmax(model: keras.Model, network: str) -> keras.Operation | None:
    """Finds the layer or operator whose softmax has to go; None if there is none.

    Raises:
        InvalidInput: the last activation is another one.
    """
    for operation in _from_the_end(model):
        activation = _activation(operation)
        if activation in SOFTMAX:
            return operation
        if activation != "linear":
            raise InvalidInput(
                f"the last layer {operation.name} of {network} has activation "
                f"{activation}; the network must return logits or end in a softmax"
            )
        if not isinstance(operation, (*PASSING, keras.layers.Activation)):
            return None
    return None


def only_activates(operation: keras.Operation) -> bool:
    """Whether an operation with an activation does nothing else."""
    kinds = keras.layers.Activation, keras.layers.Softmax
    return isinstance(operation, kinds) or not isinstance(operation, keras.Layer)


def _from_the_end(model: keras.Model) -> Iterator[keras.Operation]:
    """Yields the operations of a chain from the last one on."""
    tensor = graph_of(model).outputs[0]
    inputs = {id(x) for x in graph_of(model).inputs}
    while id(tensor) not in inputs:
        operation, index, _ = tensor._keras_history
        if isinstance(operation, keras.Model):
            yield from _from_the_end(operation)
        else:
            yield operation
        above = operation._inbound_nodes[index].input_tensors
        if len(above) != 1:
            return
        tensor = above[0]


def _activation(operation: keras.Operation) -> str:
    kind = type(operation).__name__
    if kind in ACTIVATIONS:
        return ACTIVATIONS[kind]
    own = getattr(operation, "activation", None)
    return getattr(own, "__name__", "linear") if own is not None else "linear"
