"""Copies a Keras model layer by layer, with what exact training needs.

The copy is one flat functional model on images of the run's size: nested models are
dissolved, dropout and batch normalisation become layers of `trainer.layers`, a scaling
of raw pixels at the beginning becomes a layer `Affine` on normalised pixels, and a
softmax at the end is left out. Everything else is copied as it is.
"""

import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import tree
from keras.src.models import Functional
from keras.src.utils.naming import to_snake_case

from trainer.errors import InvalidInput, first_line
from trainer.models import layers
from trainer.models.adaptation import endings, pixel_scaling, replacements
from trainer.models.adaptation.pixel_scaling import Channel, Scaling

FLOAT32 = "float32"


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """How a model is copied.

    Attributes:
        network: the name of the network in messages.
        precision: the Keras dtype policy of the copy.
        raw_pixels: whether the model may scale raw pixels 0..255 at its beginning.
        renumber: whether names that Keras gave are counted again, from zero.
    """

    network: str
    precision: str
    raw_pixels: bool = True
    renumber: bool = False


def adapt(
    model: keras.Model, image_shape: tuple[int, int, int], how: Adaptation
) -> keras.Model:
    """Builds the body, normalised images [N, H, W, C] -> logits, from a Keras model.

    Raises:
        InvalidInput: the model, or a layer of it, cannot be trained exactly.
    """
    check_model(model, image_shape, how.network)
    images = keras.Input(image_shape, name="normalised")
    walk = _Walk(model, images, how)
    (logits,) = walk.through(model, [walk.pixels])
    cast = layers.Logits(name=walk.free_name("logits"))
    try:
        body = keras.Model(images, cast(logits), name="body")
    except ValueError as error:
        raise InvalidInput(f"{how.network}: {first_line(error)}") from error
    for layer in body.layers:
        replacements.check_state(layer, how.network)
    if body.losses:
        raise InvalidInput(f"{how.network} adds losses of its own; leave them out")
    if not body.trainable_variables:
        raise InvalidInput(f"{how.network} has no variable that is trained")
    return body


def check_model(
    model: keras.Model, image_shape: tuple[int, int, int], network: str
) -> None:
    """Raises InvalidInput unless `model` is a graph from one image to one output.

    A Sequential model without an input is built for `image_shape`.
    """
    _check_graph(model, network)
    if isinstance(model, keras.Sequential) and model._functional is None:
        try:
            model.build((None, *image_shape))
        except Exception as error:  # noqa: BLE001  Keras raises what its layers raise
            raise _not_built(network, image_shape, error) from error
        if model._functional is None:
            raise _not_built(network, image_shape, ValueError("add a keras.Input"))
    for operation in _operations(model):
        if isinstance(operation, keras.Model):
            _check_graph(operation, f"{operation.name} in {network}")
    graph = endings.graph_of(model)
    for tensors, word in ((graph.inputs, "inputs"), (graph.outputs, "outputs")):
        if len(tensors) != 1:
            raise InvalidInput(
                f"{network} has {len(tensors)} {word}; it must take one image and "
                "return one tensor of logits"
            )
    shape = tuple(graph.inputs[0].shape[1:])
    if len(shape) != 3 or shape[2] not in (None, image_shape[2]):
        raise InvalidInput(
            f"{network} takes inputs {list(shape)}, the images are "
            f"{list(image_shape)}; begin with keras.Input(image_shape)"
        )


def _check_graph(model: keras.Model, named: str) -> None:
    kind = type(model)
    functional = isinstance(model, keras.Sequential | Functional)
    own = kind.call not in (keras.Sequential.call, Functional.call)
    if not functional or own or kind.train_step is not keras.Model.train_step:
        raise InvalidInput(
            f"{named} is a subclassed model ({kind.__name__}), whose graph is not "
            "known; return keras.Model(inputs, outputs) or keras.Sequential"
        )


def _not_built(
    network: str, image_shape: tuple[int, int, int], error: Exception
) -> InvalidInput:
    return InvalidInput(
        f"{network} cannot be built for images {list(image_shape)}: {_said(error)}"
    )


def _said(error: Exception) -> str:
    """What Keras said, without its frame and its colours."""
    lines = [re.sub(r"\x1b\[\d+m", "", line) for line in str(error).splitlines()]
    told = [x for x in lines if x.strip() and not x.startswith("Exception encountered")]
    return told[0].strip()[:200] if told else first_line(error)


class _Walk:
    """Calls a copy of each operation of a model in the order of its graph.

    Attributes:
        pixels: what stands for the model's input: a tensor, or a Scaling of it.
    """

    def __init__(
        self, model: keras.Model, images: keras.KerasTensor, how: Adaptation
    ) -> None:
        self._images, self._how, self._own = images, how, model.dtype_policy.name
        self._names = _fresh_names(model) if how.renumber else {}
        self._softmax = endings.find_softmax(model, how.network)
        self._copies: dict[tuple[int, str], keras.Operation] = {}
        self._called: dict[str, int] = {}
        self._scaled: list[tuple[Scaling, keras.KerasTensor]] = []
        self.pixels: Any = images
        scalings = _first_scalings(model, how.network)
        if not how.raw_pixels:
            _check_normalised(scalings, how.network)
        elif any(scaling.expects_raw_pixels for scaling in scalings):
            self.pixels = Scaling()

    def free_name(self, name: str) -> str:
        """Returns `name`, longer if an operation has it already."""
        while name in self._called or name == self._images.name:
            name = f"{name}_"
        self._called[name] = 1
        return name

    def through(
        self,
        model: keras.Model,
        inputs: list[Any],
        prefix: str = "",
        training: bool | None = None,
        trainable: bool = True,
    ) -> list[keras.KerasTensor]:
        """Returns the outputs of a copy of `model` on `inputs`.

        `training` and `trainable` are those of the models that it is nested in.
        """
        graph, trainable = endings.graph_of(model), trainable and model.trainable
        found = {id(x): y for x, y in zip(graph.inputs, inputs, strict=True)}
        for node in _nodes(graph):
            args, kwargs = node.arguments.fill_in(found)
            operation = node.operation
            fixed = kwargs.pop("training", None)
            if fixed is False and not isinstance(operation, keras.Model):
                fixed = None  # Keras writes its default into the call of a layer
            fixed = training if fixed is None else fixed
            name = prefix + self._names.get(id(operation), operation.name)
            if isinstance(operation, keras.Model):
                outputs = self.through(
                    operation, tree.flatten(args), f"{name}_", fixed, trainable
                )
            else:
                outputs = self._call(operation, name, (args, kwargs), fixed, trainable)
            found |= {
                id(x): y
                for x, y in zip(node.outputs, tree.flatten(outputs), strict=True)
            }
        return [self._tensor(found[id(x)]) for x in graph.outputs]

    def _call(
        self,
        operation: keras.Operation,
        name: str,
        arguments: tuple[tuple, dict],
        training: bool | None,
        trainable: bool,
    ) -> Any:
        """Calls a copy of `operation`; returns its outputs, or a Scaling."""
        args, kwargs = arguments
        pixels = [x for x in tree.flatten(args) if pixel_scaling.is_pixels(x)]
        if pixels:
            then = pixel_scaling.follow(operation, args, pixels[0], self._how.network)
            if then is not None:
                return then
        args, kwargs = tree.map_structure(self._tensor, (args, kwargs))
        if operation is self._softmax and endings.only_activates(operation):
            return args[0]
        copied = self._copy(operation, name, training, trainable)
        if copied is None:
            return args[0]
        if replacements.is_ours(copied):
            self._check_mask(operation, kwargs.pop("mask", None))
        try:
            return copied(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  Keras raises what its layers raise
            taken = [list(getattr(x, "shape", ())) for x in tree.flatten(args)]
            raise InvalidInput(
                f"layer {operation.name} ({type(operation).__name__}) of "
                f"{self._how.network} does not take {taken[0] if taken else 'these'}, "
                f"from images {list(self._images.shape[1:])}: {_said(error)}"
            ) from error

    def _check_mask(self, layer: keras.Operation, mask: Any) -> None:
        if mask is not None and isinstance(layer, keras.layers.BatchNormalization):
            raise InvalidInput(
                f"layer {layer.name} (BatchNormalization) of {self._how.network} is "
                "given a mask; leave out Masking and mask_zero before it"
            )

    def _tensor(self, value: Any) -> Any:
        """Returns `value`; for a Scaling the tensor of scaled pixels."""
        if isinstance(value, Channel):
            return self._tensor(value.scaling)[..., value.index]
        if not isinstance(value, Scaling):
            return value
        for known, tensor in self._scaled:
            if known is value:
                return tensor
        network, channels = self._how.network, self._images.shape[-1]
        layer = value.build_layer(self.free_name("pixel_scaling"), network, channels)
        tensor = layer(self._images)
        self._scaled.append((value, tensor))
        return tensor

    def _copy(
        self,
        operation: keras.Operation,
        name: str,
        training: bool | None,
        trainable: bool,
    ) -> keras.Operation | None:
        """Returns the copy of `operation`; None where a call of it does nothing."""
        network = self._how.network
        if not isinstance(operation, keras.layers.Layer):
            copied = copy.copy(operation)
            copied._inbound_nodes, copied._outbound_nodes = [], []
            copied.name = self._numbered(name)
            return copied
        replacements.check_kind(operation, network)
        if replacements.is_replaced(operation):
            return self._replace(operation, name, training, trainable)
        key = id(operation), name
        if key not in self._copies:
            self._called[name] = 1
            self._copies[key] = self._cloned(operation, name, trainable)
        return self._copies[key]

    def _replace(
        self,
        layer: keras.layers.Layer,
        name: str,
        training: bool | None,
        trainable: bool,
    ) -> keras.layers.Layer | None:
        words = {"name": name, "dtype": self._precision(layer.dtype_policy.name)}
        key = id(layer), name
        if isinstance(layer, keras.layers.BatchNormalization):
            if key in self._copies and not self._copies[key].moving:
                return self._copies[key]
            if key in self._copies:
                raise InvalidInput(
                    f"layer {layer.name} (BatchNormalization) of {self._how.network} "
                    "is called twice and has two batch statistics; use two layers"
                )
        else:  # each call draws its own numbers, by its own name
            words["name"] = self._numbered(name)
        built = replacements.build_replacement(
            layer, words, training, self._how.network
        )
        if built is not None:
            built.trainable = layer.trainable and trainable
            self._called[words["name"]] = 1
            self._copies[key] = built
        return built

    def _numbered(self, name: str) -> str:
        """Returns `name` at its first call, then name_call_1, name_call_2 and so on."""
        count = self._called.get(name, 0)
        self._called[name] = count + 1
        return f"{name}_call_{count}" if count else name

    def _cloned(
        self, layer: keras.layers.Layer, name: str, trainable: bool
    ) -> keras.layers.Layer:
        network = self._how.network
        if type(layer) is keras.layers.Normalization:
            words = pixel_scaling.fixed(layer, network)
            return keras.layers.Normalization(
                **words, name=name, dtype=self._how.precision
            )
        try:
            described = keras.saving.serialize_keras_object(layer)
            described.pop("build_config", None)
            described["config"]["name"] = name
            if layer is self._softmax:
                described["config"]["activation"] = "linear"
            described = self._in_precision(_with_seeds(described))
            copied = keras.saving.deserialize_keras_object(described)
        except Exception as error:  # noqa: BLE001  Keras raises what its layers raise
            problem = f"cannot be rebuilt from its description: {_said(error)}"
            if type(layer).__module__.split(".")[0] != "keras":
                problem = (
                    "is of a class of your own, which would be missing where its run "
                    "is opened; build it of Keras' layers in a function"
                )
            raise InvalidInput(
                f"layer {layer.name} ({type(layer).__name__}) of {network} {problem}"
            ) from error
        if not (trainable and layer.trainable):
            copied.trainable = False
        return copied

    def _in_precision(self, value: Any) -> Any:
        """Replaces dtype policies in a nested description."""
        if isinstance(value, list):
            return [self._in_precision(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("class_name") == "DTypePolicy":
            name = self._precision(value["config"]["name"])
            return {**value, "config": {**value["config"], "name": name}}
        return {key: self._in_precision(item) for key, item in value.items()}

    def _precision(self, policy: str) -> str:
        """The policy of a copy; float32 chosen within mixed precision is kept."""
        mixed = self._own.startswith("mixed") and self._how.precision.startswith(
            "mixed"
        )
        return FLOAT32 if mixed and policy == FLOAT32 else self._how.precision


def _with_seeds(value: Any) -> Any:
    """Gives a seed to recurrent layers without dropout, which keep one for nothing.

    Otherwise it would depend on how many layers the process has built.
    """
    if isinstance(value, list):
        return [_with_seeds(item) for item in value]
    if not isinstance(value, dict):
        return value
    idle = value.get("dropout") == 0 and value.get("recurrent_dropout") == 0
    return {
        key: 0 if idle and key == "seed" else _with_seeds(item)
        for key, item in value.items()
    }


def _nodes(graph: keras.Function) -> Iterator[Any]:
    """Yields the calls of a graph but those of its input layers, in their order."""
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from (x for x in graph._nodes_by_depth[depth] if not x.is_input)


def _operations(model: keras.Model) -> Iterator[keras.Operation]:
    """Yields every operation and nested model, each as often as it is called."""
    for node in _nodes(endings.graph_of(model)):
        yield node.operation
        if isinstance(node.operation, keras.Sequential | Functional):
            yield from _operations(node.operation)


def _fresh_names(model: keras.Model) -> Mapping[int, str]:
    """Counts the names that Keras gave from zero: dense_7, dense_9 -> dense, dense_1.

    They depend on what else the process has built.
    """
    kinds: dict[str, dict[int, int]] = {}
    for operation in _operations(model):
        base = to_snake_case(type(operation).__name__)
        if found := re.fullmatch(rf"{re.escape(base)}(?:_(\d+))?", operation.name):
            kinds.setdefault(base, {})[id(operation)] = int(found[1] or 0)
    return {
        key: f"{base}_{place}" if place else base
        for base, numbers in kinds.items()
        for place, key in enumerate(sorted(numbers, key=numbers.__getitem__))
    }


def _first_scalings(model: keras.Model, network: str) -> list[Scaling]:
    """What the model has done to its input up to the first layers with weights."""
    ends: list[Scaling] = []
    _follow_pixels(model, [Scaling()], network, ends)
    return ends


def _check_normalised(scalings: Sequence[Scaling], network: str) -> None:
    if any(scaling.explicit and scaling.is_large for scaling in scalings):
        raise InvalidInput(
            f"{network} is given pixels in [-1, 1) and scales them as if they were "
            "0..255; leave out its Rescaling or Normalization"
        )


def _follow_pixels(
    model: keras.Model, inputs: list[Any], network: str, ends: list[Scaling]
) -> list[Any]:
    """Follows scalings through a graph without building it; None: other values."""
    graph = endings.graph_of(model)
    found = {id(x): y for x, y in zip(graph.inputs, inputs, strict=True)}
    for node in _nodes(graph):
        operation, outputs = node.operation, [None] * len(node.outputs)
        args, _ = node.arguments.fill_in(found)
        mine = [x for x in tree.flatten(args) if pixel_scaling.is_pixels(x)]
        if mine and isinstance(operation, keras.Model):
            outputs = _follow_pixels(operation, tree.flatten(args), network, ends)
        elif mine:
            then = pixel_scaling.follow(operation, args, mine[0], network)
            # What has no weights, such as Resizing, is still in front of the network.
            if then is None and not getattr(operation, "weights", None):
                then = mine[0]
            outputs = [then] * len(node.outputs)
            ends += [x for x in (*mine, then) if isinstance(x, Scaling)]
        found |= dict(zip(map(id, node.outputs), outputs, strict=False))
    return [found.get(id(x)) for x in graph.outputs]
