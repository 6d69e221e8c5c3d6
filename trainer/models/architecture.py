"""Saves the architecture of a user's network as Keras' JSON, and rebuilds it.

A run keeps the JSON as model.json, so that evaluation and export need no script. The
network that is trained is built from the same JSON.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras.src.backend.common import global_state

from trainer.config.serialization import differences
from trainer.errors import InvalidInput
from trainer.models import layers

NAMES = "object_name_uids"  # Keras' counters, from which it names unnamed layers
INSTEAD = {
    keras.layers.Dropout: "trainer.layers.Dropout",
    keras.layers.BatchNormalization: "trainer.layers.BatchNorm",
}


def describe(
    function: Callable[..., Any],
    kwargs: Mapping[str, Any],
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    precision: str,
) -> str:
    """Builds the network of `function` and returns its JSON.

    Args:
        function: (x, num_classes, **kwargs) -> logits, as in `trainer.models.networks`.
        kwargs: options of the network.
        image_shape: height, width, channels.
        num_classes: the width of the logits.
        precision: the Keras dtype policy of the training step.

    Raises:
        InvalidInput: the network has state that checkpoints and replicas do not share,
            cannot be serialised, or returns no logits [N, num_classes].
    """
    name = getattr(function, "__name__", "network")
    with _fresh_names(), _dtype_policy(precision):
        images = keras.Input(image_shape, name="normalised")
        logits = function(images, num_classes, **kwargs)
        shape = tuple(getattr(logits, "shape", ()))
        if shape != (None, num_classes):
            raise InvalidInput(
                f"{name} must return logits [N, {num_classes}], got {list(shape)}"
            )
        body = keras.Model(images, layers.Logits(name="logits")(logits), name="body")
    for layer in body.layers:
        _check_stateless(layer, name)
    described = {"precision": precision, "body": json.loads(body.to_json())}
    text = json.dumps(described, sort_keys=True)
    _check_rebuilt(body, text, name)
    return text


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
    if [v.path for v in rebuilt.variables] != [v.path for v in body.variables]:
        raise InvalidInput(f"{name} has other variables once it is rebuilt")


def rebuild(text: str, precision: str) -> keras.Model:
    """Rebuilds the layer "body" from the JSON of `describe`, in `precision`."""
    described = json.loads(text)
    body = _in_precision(described["body"], described["precision"], precision)
    return keras.models.model_from_json(json.dumps(body))


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


def _check_stateless(layer: keras.Layer, name: str) -> None:
    kind = type(layer).__name__
    if isinstance(layer, keras.Model):
        raise InvalidInput(
            f"layer {layer.name} of {name} is a model of its own; call its layers "
            "directly"
        )
    if type(layer).__module__.startswith("trainer."):
        return
    if isinstance(layer, keras.layers.Dropout) and not layer.rate:
        return
    seeded = any("seed" in variable.path for variable in layer.variables)
    if seeded or layer.non_trainable_variables or type(layer) in INSTEAD:
        instead = INSTEAD.get(type(layer))
        remedy = (
            f"use {instead}" if instead else "leave it out; see Config.data.augment"
        )
        raise InvalidInput(
            f"layer {layer.name} ({kind}) of {name} keeps state that a resumed run and "
            f"other replicas would not share; {remedy}"
        )


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
