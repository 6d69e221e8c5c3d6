"""Freezes layers of a network, and finds its head: the layer that gives the logits."""

import re

import keras
import tensorflow as tf

from trainer.config.schema import Config
from trainer.errors import InvalidInput
from trainer.optim.layer_rates import LayerRates

BACKBONE = "backbone"  # value of `freeze`: all layers but the head
_SHOWN = 6  # layers in a message


def head_layers(body: keras.Model) -> frozenset[str]:
    """Finds the names of the layers that other classes need anew.

    From the output backwards: layers with weights up to the first that has a kernel.
    """
    found = []
    for layer in reversed(body.layers):
        if layer.variables:
            found.append(layer.name)
            if any(len(variable.shape) >= 2 for variable in layer.variables):
                break
    return frozenset(found)


def frozen_layers(body: keras.Model, pattern: str) -> list[keras.Layer]:
    """Finds the layers with weights that `pattern`, the value of `freeze`, names.

    Raises:
        InvalidInput: there are none, or none would be left to train.
    """
    weighted, heads = [x for x in body.layers if x.variables], head_layers(body)
    if pattern == BACKBONE:
        found = [layer for layer in weighted if layer.name not in heads]
    else:
        found = [layer for layer in weighted if re.search(pattern, layer.name)]
    if not found:
        names = [layer.name for layer in weighted]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise InvalidInput(
            f"freeze={pattern} names no layer of this network, whose layers with "
            f"weights are {', '.join(names[:_SHOWN])}{more}; name some of these"
        )
    left = {layer.name for layer in weighted} - {layer.name for layer in found}
    if not any(body.get_layer(name).trainable_variables for name in left):
        raise InvalidInput(
            f"freeze={pattern} leaves no layer to train; use freeze={BACKBONE}, which "
            "leaves the layer of the logits"
        )
    return found


def freeze(body: keras.Model, config: Config, frozen_steps: int) -> LayerRates:
    """Freezes the layers of `body` that `config` names, for ever or for first steps.

    Layers that are frozen for ever are not trainable after it: no gradient is computed
    for them, and the optimizer does not know them. Call it in the strategy's scope.

    Args:
        body: the network; its optimizer is built after this call.
        config: with `freeze` and `backbone_lr_multiplier`.
        frozen_steps: number of steps until they are trained; 0: never.

    Returns:
        The rates of layers for optimizer and step.

    Raises:
        InvalidInput: `freeze` does not fit the network.
    """
    pattern, multiplier = config.model.freeze, config.optim.backbone_lr_multiplier
    found = frozen_layers(body, pattern) if pattern is not None else []
    if not frozen_steps:
        for layer in found:
            layer.trainable = False
    elif any(getattr(layer, "synchronized", False) for layer in found):
        raise InvalidInput(
            "`unfreeze_epoch` cannot be combined with synchronized batch normalisation "
            "in the layers of `freeze`: replicas cannot exchange numbers inside the "
            "choice of what is frozen; leave it out"
        )
    heads = head_layers(body)
    slowed = [x for x in body.layers if multiplier != 1 and x.name not in heads]
    until = found if frozen_steps else []
    return LayerRates(
        factors={v.path: multiplier for x in slowed for v in x.trainable_variables},
        frozen_layers=frozenset(layer.name for layer in until),
        frozen_weights=frozenset(v.path for x in until for v in x.trainable_variables),
        frozen_steps=frozen_steps,
        frozen=tf.Variable(True, trainable=False) if frozen_steps else None,
    )


def frozen_names(body: keras.Model, rates: LayerRates) -> list[str]:
    """Names the layers that are frozen, for ever or in the first steps."""
    return [
        layer.name
        for layer in body.layers
        if layer.variables
        and (layer.name in rates.frozen_layers or not layer.trainable)
    ]
