"""Rewrites a network to one that computes as its int8 network will.

Synopsis::

    quantised = rewriting.quantize(body)  # other layers, new variables
    rewriting.fold_weights(body, quantised)
    rewriting.calibrate(quantised, images)
"""

import collections
import copy
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.errors import InvalidInput
from trainer.models import layers
from trainer.models.normalization import PIXEL_MEAN, PIXEL_STD
from trainer.models.quantization import graph
from trainer.models.quantization.fake_quant import (
    FakeQuant,
    RoundedConv2D,
    RoundedDense,
    RoundedDepthwiseConv2D,
)
from trainer.models.quantization.graph import Plan, Rule

IMAGES = 512  # training images that the first ranges are measured on
_BATCH = 64
_PIXELS = (-PIXEL_MEAN / PIXEL_STD, (255 - PIXEL_MEAN) / PIXEL_STD)
_ROUNDED = {
    keras.layers.Conv2D: RoundedConv2D,
    keras.layers.DepthwiseConv2D: RoundedDepthwiseConv2D,
    keras.layers.Dense: RoundedDense,
}
_FLOAT = {rounded: plain for plain, rounded in _ROUNDED.items()}


def quantize(body: keras.Model) -> keras.Model:
    """Builds a copy of `body` with rounded kernels and activations, and new variables.

    Batch normalisation has disappeared in the convolution before it. Layers keep their
    names; a range has the name of its layer and "_range".

    Raises:
        InvalidInput: there is no rule for a layer.
    """
    return _Rewriting(body, graph.plan(body)).build()


class _Rewriting:
    """Calls the new operations in the order of the old network."""

    def __init__(self, body: keras.Model, plan: Plan) -> None:
        self._body, self._plan = body, plan
        self._copies: dict[str, keras.Operation] = {}
        self._ranges: dict[int, FakeQuant] = {}  # of tensors, by id
        self._named = collections.Counter()

    def build(self) -> keras.Model:
        [source] = self._body.inputs
        images = keras.Input(source.shape[1:], dtype=source.dtype, name=source.name)
        pixels = FakeQuant(limits=_PIXELS, name=f"{source.name}_range")
        found = {id(source): self._round(images, pixels)}
        for node in graph.nodes(self._body):
            args, kwargs = node.arguments.fill_in(found)
            outputs = self._call(node.operation, args, kwargs)
            for old, new in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
                found[id(old)] = new
        [logits] = self._body.outputs
        rewritten = keras.Model(images, found[id(logits)], name=self._body.name)
        if self._body.input_spec is None:  # images of any size
            rewritten.input_spec = None
        return rewritten

    def _call(self, operation: keras.Operation, args: tuple, kwargs: dict) -> Any:
        name, rule = operation.name, self._plan.rules[operation.name]
        inputs = [x for x in keras.tree.flatten(args) if id(x) in self._ranges]
        if rule is Rule.FOLDED:
            return args[0]
        outputs = self._copy(operation)(*args, **kwargs)
        if rule in (Rule.MOVING, Rule.AVERAGING) and inputs:
            known = self._ranges[id(inputs[0])]
            if rule is Rule.AVERAGING:
                return self._round(outputs, known, observe=False)
            for tensor in keras.tree.flatten(outputs):
                self._ranges[id(tensor)] = known
            return outputs
        if rule is Rule.LOGITS or name in self._plan.unranged:
            return outputs
        if rule is Rule.KERNEL:
            outputs = self._activate(operation, outputs)
        return self._round(outputs, self._range(name))

    def _range(self, name: str) -> FakeQuant:
        """Returns a new range; that of a layer's second call has a number."""
        count = self._named[name]
        self._named[name] += 1
        return FakeQuant(name=f"{name}_range_{count}" if count else f"{name}_range")

    def _activate(self, layer: keras.layers.Layer, x: Any) -> Any:
        """Calls an activation that TFLite has as an operator of its own."""
        word = graph.activation_of(layer)
        if word in ("linear", "relu", "relu6"):
            return x
        name = f"{layer.name}_{word}"
        if name not in self._copies:
            self._copies[name] = keras.layers.Activation(layer.activation, name=name)
        return self._copies[name](self._round(x, self._range(f"{layer.name}_linear")))

    def _round(self, x: Any, to: FakeQuant, **words: Any) -> Any:
        rounded = to(x, **words)
        self._ranges[id(rounded)] = to
        return rounded

    def _copy(self, operation: keras.Operation) -> keras.Operation:
        """Returns what stands for `operation`, the same at its second call."""
        if operation.name not in self._copies:
            self._copies[operation.name] = self._build_copy(operation)
        return self._copies[operation.name]

    def _build_copy(self, operation: keras.Operation) -> keras.Operation:
        rule = self._plan.rules[operation.name]
        if rule is Rule.KERNEL:
            return _rounded(operation, operation.name in self._plan.norms)
        if rule is Rule.AFFINE:
            words = {"name": operation.name, "trainable": operation.trainable}
            if isinstance(operation, layers.Affine):
                return RoundedConv2D(operation.output.shape[-1], 1, **words)
            return RoundedDepthwiseConv2D(1, **words)
        if isinstance(operation, keras.layers.Layer):
            return type(operation).from_config(operation.get_config())
        copied = copy.copy(operation)
        copied._inbound_nodes, copied._outbound_nodes = [], []
        return copied


def _rounded(layer: keras.layers.Layer, folds: bool) -> keras.layers.Layer:
    if isinstance(layer, layers.Whitening):
        return RoundedConv2D(
            layer.kernel.shape[-1],
            layers.PATCH_SIZE,
            name=layer.name,
            trainable=layer.trainable and not layer.fitted,
        )
    config = layer.get_config()
    config["use_bias"] = config["use_bias"] or folds
    if graph.activation_of(layer) not in ("relu", "relu6"):
        config["activation"] = None
    return _ROUNDED[type(layer)].from_config(config)


def fold_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies the weights of `source` into `target`, which is `quantize(source)`.

    A convolution with the batch normalisation behind it becomes one convolution (Jacob
    et al. 2018, section 3.2), with the moving statistics.
    """
    plan = graph.plan(source)
    for layer in source.layers:
        rule = plan.rules.get(layer.name)
        new = target.get_layer(layer.name) if rule not in (None, Rule.FOLDED) else None
        if rule is Rule.KERNEL:
            kernel, bias = _folded(layer, plan.norms.get(layer.name))
            new.kernel.assign(kernel)
            if new.use_bias:
                new.bias.assign(np.broadcast_to(bias, new.bias.shape))
        elif rule is Rule.AFFINE:
            scale, offset = _affine(layer)
            matrix = np.diag(np.broadcast_to(scale, new.bias.shape))
            if isinstance(layer, layers.Affine):
                kernel = matrix[::-1] if layer.reverse else matrix
            else:
                kernel = np.broadcast_to(scale, new.bias.shape)[:, None]
            new.kernel.assign(kernel[None, None])
            new.bias.assign(np.broadcast_to(offset, new.bias.shape))
        elif new is not None and layer.weights:
            new.set_weights(layer.get_weights())


def _folded(
    layer: keras.layers.Layer, norm: keras.layers.Layer | None
) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = layer.kernel.numpy(), np.zeros(1)
    if getattr(layer, "use_bias", True):
        bias = layer.bias.numpy()
    if norm is None:
        return kernel, bias
    scale, offset = _affine(norm)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        scale = np.broadcast_to(scale, kernel.shape[2] * kernel.shape[3])
        return kernel * scale.reshape(kernel.shape[2:]), bias * scale + offset
    return kernel * scale, bias * scale + offset


def _affine(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Returns scale and offset, [C] or one for all, of a layer that only scales."""
    if isinstance(layer, layers.Scale):
        return np.full(1, layer.factor, np.float64), np.zeros(1)
    if not isinstance(layer, layers.BatchNorm):
        return np.array(layer.scale, np.float64), np.array(layer.offset, np.float64)
    mean, variance = (
        each.numpy().astype(np.float64)
        for each in (layer.moving_mean, layer.moving_variance)
    )
    scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.gamma is not None:
        scale = scale * layer.gamma.numpy()
    offset = -mean * scale
    return scale, offset if layer.beta is None else offset + layer.beta.numpy()


def calibrate(body: keras.Model, images: np.ndarray) -> None:
    """Sets the first ranges of a rewritten `body` from images float [N, H, W, C]."""
    found = ranges(body)
    for each in found:
        each.start_calibration()
    for first in range(0, len(images), _BATCH):
        body(tf.constant(images[first : first + _BATCH]), training=False)
    for each in found:
        each.finish_calibration()


def ranges(body: keras.Model) -> Sequence[FakeQuant]:
    """Lists the layers of a rewritten `body` that round activations."""
    return [layer for layer in body.layers if isinstance(layer, FakeQuant)]


def deployable(body: keras.Model, temperature: float) -> keras.Model:
    """Builds a copy of a rewritten `body` for the converter, which rounds kernels.

    Layers are Keras' own and hold rounded kernels; the ranges stay. The logits are
    divided by `temperature` in the weights and the range of the last layer, so that no
    operator is left for it.

    Raises:
        InvalidInput: the logits are not those of a layer with a kernel.
    """
    copied = keras.models.clone_model(body, clone_function=_float_layer)
    last = _last_ranges(body, temperature)
    for layer, new in zip(body.layers, copied.layers, strict=True):
        factor = temperature if layer.name in last else 1.0
        if type(layer) in _FLOAT:
            new.kernel.assign(layer.rounded_kernel() / factor)
            if new.use_bias:
                new.bias.assign(layer.bias / factor)
        else:
            new.set_weights([each / factor for each in layer.get_weights()])
    copied.input_spec = body.input_spec
    return copied


def _float_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    return _FLOAT.get(type(layer), type(layer)).from_config(layer.get_config())


def _last_ranges(body: keras.Model, temperature: float) -> set[str]:
    """Names the layer that computes the logits, and its range."""
    if temperature == 1:
        return set()
    made = {id(node.outputs[0]): node for node in graph.nodes(body)}
    path = [made[id(body.outputs[0])]]
    for _ in range(2):
        path.append(made[id(path[-1].input_tensors[0])])
    found = [node.operation for node in path[1:]]
    if not isinstance(found[0], FakeQuant) or type(found[1]) not in _FLOAT:
        raise InvalidInput(
            f"the logits of a `qat` run are not those of a dense layer but of "
            f"{found[1].name}: export it with calibrate=False"
        )
    return {each.name for each in found}
