"""Saves the architecture of a user's network as Keras' JSON, and rebuilds it.

A run keeps the JSON as model.json, so that evaluation and export need no script. The
network that is trained is built from the same JSON. It describes one of

- a function (x, num_classes, **options) -> logits, as in trainer.models.networks: x is
  a float Keras tensor in [-1, 1);
- a function (num_classes, image_shape, **options) -> keras.Model, whose first parameter
  is named num_classes; image_shape is passed by name if there is such a parameter;
- a functional or Sequential keras.Model. Its weights are not used.

A model that begins with a Rescaling or Normalization is given pixels 0..255, any other
model (pixel - 128) / 128. A softmax at its end is left out.
"""

import contextlib
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras.src.backend.common import global_state

from trainer.config.serialization import differences
from trainer.errors import InvalidInput
from trainer.models.adaptation import adapter

NAMES = "object_name_uids"  # Keras' counters, from which it names unnamed layers
Network = Callable[..., Any] | keras.Model


def describe(
    network: Network,
    kwargs: Mapping[str, Any],
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    precision: str,
) -> str:
    """Builds a network, adapts its layers and returns the JSON of the result.

    Args:
        network: a function or a Keras model, see above.
        kwargs: options of the function.
        image_shape: height, width, channels.
        num_classes: the width of the logits.
        precision: the Keras dtype policy of the training step.

    Raises:
        InvalidInput: the network has state that checkpoints and replicas do not share,
            cannot be serialised, or returns no logits [N, num_classes].
    """
    name, given = _name(network), isinstance(network, keras.Model)
    with _fresh_names(), _dtype_policy(precision):
        model = network if given else _call(network, kwargs, image_shape, num_classes)
        how = adapter.Adaptation(
            network=name,
            precision=precision,
            raw_pixels=given or returns_model(network),
            renumber=given,
        )
        body = adapter.adapt(model, image_shape, how)
    shape = tuple(body.output.shape)
    if shape != (None, num_classes):
        raise InvalidInput(
            f"{name} must return logits [N, {num_classes}], got {list(shape)}"
        )
    described = {"precision": precision, "body": json.loads(body.to_json())}
    text = json.dumps(described, sort_keys=True)
    _check_rebuilt(body, text, name)
    return text


def _name(network: Network) -> str:
    """The name of a network in messages."""
    if isinstance(network, keras.Model):
        return network.name
    return getattr(network, "__name__", "network")


def returns_model(function: Callable[..., Any]) -> bool:
    """Whether a network is a function that returns a keras.Model."""
    first = next(iter(inspect.signature(function).parameters), None)
    return first == "num_classes"


def _call(
    function: Callable[..., Any],
    kwargs: Mapping[str, Any],
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> keras.Model:
    """Calls a network's function and returns a model of its layers."""
    if returns_model(function):
        words = dict(kwargs)
        if "image_shape" in inspect.signature(function).parameters:
            words["image_shape"] = image_shape
        model = function(num_classes, **words)
        if not isinstance(model, keras.Model):
            raise InvalidInput(
                f"{_name(function)} must return a keras.Model, as its first parameter "
                f"is num_classes; got {type(model).__name__}"
            )
        return model
    images = keras.Input(image_shape, name="normalised")
    logits = function(images, num_classes, **kwargs)
    if not isinstance(logits, keras.KerasTensor):
        raise InvalidInput(
            f"{_name(function)} must return logits [N, {num_classes}], got "
            f"{type(logits).__name__}"
        )
    return keras.Model(images, logits)


def _check_rebuilt(body: keras.Model, text: str, name: str) -> None:
    """Raises InvalidInput unless `text` rebuilds the variables of `body`."""
    precision = json.loads(text)["precision"]
    try:
        rebuilt = rebuild(text, precision)
    except Exception as error:  # noqa: BLE001  Keras raises what its layers raise
        raise InvalidInput(
            f"{name} cannot be rebuilt from its description, as Lambda layers and "
            f"classes that are not registered cannot: {str(error).splitlines()[0]:.200}"
        ) from error
    if _paths(rebuilt) != _paths(body):
        raise InvalidInput(f"{name} has other variables once it is rebuilt")


def _paths(model: keras.Model) -> list[str]:
    """The paths of variables, but of seeds that no layer uses: Keras counts these.

    It also counts variables without a name, as those of ConvNeXt's LayerScale; once
    rebuilt they are counted from zero, always alike.
    """
    paths = [v.path for v in model.variables if "seed_generator" not in v.path]
    return [re.sub(r"/variable_\d+$", "/variable", path) for path in paths]


def rebuild(text: str, precision: str) -> keras.Model:
    """Rebuilds the layer "body" from the JSON of `describe`, in `precision`."""
    described = json.loads(text)
    body = _in_precision(described["body"], described["precision"], precision)
    with _fresh_names():
        return keras.models.model_from_json(json.dumps(body))


def is_synchronized(text: str) -> bool:
    """Whether a layer of the description averages over replicas as it is called."""
    layers = json.loads(text)["body"]["config"]["layers"]
    return any(layer["config"].get("synchronized") for layer in layers)


def explain_difference(theirs: str, ours: str) -> str:
    """Says in which layers two descriptions of `describe` differ, in a line."""
    before, now = (_layers(text) for text in (theirs, ours))
    gone = [f"{name} is gone" for name in before if name not in now]
    new = [f"{name} is new" for name in now if name not in before]
    changed = [
        f"{name}.{change}"
        for name in before.keys() & now.keys()
        for change in differences(before[name], now[name])
    ]
    named = "; ".join([*sorted(changed), *gone, *new]) or "the order of layers differs"
    return named if len(named) <= 300 else f"{named[:297]} and more"


def _layers(text: str) -> dict[str, Any]:
    """The settings of every layer by its name, and what it is connected to."""
    found = {}
    for layer in json.loads(text)["body"]["config"]["layers"]:
        settings = {k: v for k, v in layer["config"].items() if k != "name"}
        inputs = json.dumps(layer.get("inbound_nodes"))
        found[layer["name"]] = {
            "kind": layer["class_name"],
            **settings,
            "inputs": hashlib.sha256(inputs.encode()).hexdigest()[:8],
        }
    return found


def _in_precision(value: Any, old: str, new: str) -> Any:
    """Replaces the dtype policy `old` of layers by `new` in nested JSON."""
    if isinstance(value, list):
        return [_in_precision(item, old, new) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy" and value["config"]["name"] == old:
        return {**value, "config": {**value["config"], "name": new}}
    return {key: _in_precision(item, old, new) for key, item in value.items()}


@contextlib.contextmanager
def _fresh_names() -> Iterator[None]:
    """Lets Keras number unnamed layers as in a new process, within the context."""
    before = global_state.get_global_attribute(NAMES)
    global_state.set_global_attribute(NAMES, None)
    try:
        yield
    finally:
        global_state.set_global_attribute(NAMES, before)


@contextlib.contextmanager
def _dtype_policy(precision: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
