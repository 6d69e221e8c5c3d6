"""Registry of networks and their options; it does not import TensorFlow.

A network is a function ``(x, num_classes, *, option=default) -> logits``: a float Keras
tensor [N, H, W, C] with values in [-1, 1) becomes logits [N, K]. Its keyword arguments
are its options, ``ModelConfig.kwargs``. They are read from the source code, so that a
wrong option is refused before TensorFlow is imported; `load` checks the function
itself.
"""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import pathlib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from trainer.config.options import Bounds, require
from trainer.config.schema import ModelConfig
from trainer.config.serialization import fits

MODELS = {
    "cnn": "trainer.models.networks.cnn:cnn",
    "mobilenet": "trainer.models.networks.mobilenet:mobilenet",
    "resnet8": "trainer.models.networks.resnet:resnet8",
    "resnet20": "trainer.models.networks.resnet:resnet20",
    "speednet": "trainer.models.networks.speednet:speednet",
}
ANY_SIZE = ("speednet",)  # networks whose body takes images of any height and width
SYNC = "sync_batch_norm"  # the option that ModelConfig.sync_batch_norm sets
_BUILTINS = {kind.__name__: kind for kind in (bool, int, float, str, list)}
BOUNDS = {
    "width": Bounds(above=0, at_most=64),
    "dropout": Bounds(at_least=0, below=1),
}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One option of a network.

    Attributes:
        type: the annotated type; Any if the source code does not tell.
        default: the default as it is written in the source code.
    """

    type: Any
    default: str


@dataclasses.dataclass(frozen=True)
class Signature:
    """The options of a network by name.

    Attributes:
        parameters: the named options.
        accepts_any: whether the network accepts other options, too (``**kwargs``).
    """

    parameters: Mapping[str, Parameter]
    accepts_any: bool = False


def read_signature(name: str) -> Signature | None:
    """Reads the options of network `name` from its source code, without importing it.

    Returns None if the name is not a plain function of the module.
    """
    module, function = MODELS[name].split(":")
    spec = importlib.util.find_spec(module)
    return parse_signature(pathlib.Path(spec.origin).read_text(), function)


def parse_signature(source: str, function: str) -> Signature | None:
    """Parses the options of a top-level function of Python source; None if missing.

    >>> found = parse_signature("def f(x, n, *, width: float = 1.0): pass", "f")
    >>> found.parameters
    {'width': Parameter(type=<class 'float'>, default='1.0')}
    """
    for node in ast.parse(source).body:
        plain = isinstance(node, ast.FunctionDef) and not node.decorator_list
        if plain and node.name == function:
            arguments, count = node.args, len(node.args.defaults)
            pairs = list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
            named = arguments.args[len(arguments.args) - count :] if count else []
            pairs += zip(named, arguments.defaults, strict=True)
            found = {
                arg.arg: Parameter(
                    _annotated(arg.annotation), ast.unparse(default) if default else ""
                )
                for arg, default in pairs
            }
            return Signature(found, accepts_any=arguments.kwarg is not None)
    return None


def _annotated(node: ast.expr | None) -> Any:
    """Evaluates an annotation: a built-in type, union or Literal; Any if unknown."""
    match node:
        case ast.Name(id=name) if name in _BUILTINS:
            return _BUILTINS[name]
        case ast.Constant(value=None):
            return types.NoneType
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            kinds = _annotated(left), _annotated(right)
            return Any if Any in kinds else typing.Union[kinds]  # noqa: UP007
        case ast.Subscript(
            value=ast.Name(id="Literal") | ast.Attribute(attr="Literal"), slice=choices
        ):
            try:
                found = ast.literal_eval(choices)
            except ValueError:
                return Any
            return typing.Literal[found]
    return Any


def check_options(config: ModelConfig) -> None:
    """Raises InvalidConfig unless the network accepts the options of `config`."""
    require(
        config.name in MODELS,
        f"model={config.name} is not one of {', '.join(sorted(MODELS))}",
    )
    if (known := read_signature(config.name)) is not None:
        _check_options(config, known)


def import_network(name: str) -> Callable[..., Any]:
    """Imports the function of network `name`."""
    module, function = MODELS[name].split(":")
    return getattr(importlib.import_module(module), function)


def load(config: ModelConfig) -> Callable[..., Any]:
    """Loads the network of `config` with its options: (x, num_classes) -> logits.

    Raises:
        InvalidConfig: the network does not have these options.
    """
    check_options(config)
    function = import_network(config.name)
    seen = inspect.signature(function, eval_str=True).parameters
    found = {
        option: Parameter(
            Any if each.annotation is each.empty else each.annotation,
            repr(each.default),
        )
        for option, each in seen.items()
        if each.default is not each.empty
    }
    kinds = {each.kind for each in seen.values()}
    _check_options(config, Signature(found, inspect.Parameter.VAR_KEYWORD in kinds))
    given = dict(config.kwargs)
    for option in given.keys() & found.keys():
        if found[option].type is float:
            given[option] = float(given[option])
    if SYNC in found:
        given[SYNC] = config.sync_batch_norm

    def network(x: Any, num_classes: int) -> Any:
        return function(x, num_classes, **given)

    return network


def _check_options(config: ModelConfig, known: Signature) -> None:
    options = {n: p for n, p in known.parameters.items() if n != SYNC}
    require(
        SYNC in known.parameters or not config.sync_batch_norm,
        f"`{SYNC}` has no effect on model={config.name}, which has no such option; "
        "leave it out",
    )
    there = ", ".join(f"{n}={p.default}" for n, p in options.items()) or "none"
    for name, value in config.kwargs.items():
        given = f"model_kwargs={name}={value}"
        require(name != SYNC, f"{given}: `{SYNC}` is an option of its own, use that")
        require(
            name in options or known.accepts_any,
            f"{given}: model={config.name} has no option {name}; it has {there}",
        )
        if name not in options:
            continue
        kind = options[name].type
        require(fits(value, kind), f"{given}: {name} must be {_named(kind)}")
        if limits := BOUNDS.get(name):
            require(
                isinstance(value, int | float) and limits.contain(value),
                f"{given}: {name} must be a number {limits}",
            )


def _named(kind: Any) -> str:
    """Describes a type in words: "a number", "true or false", "relu or gelu"."""
    words = {
        float: "a number",
        int: "a whole number",
        bool: "true or false",
        str: "a word",
        list: "a list in brackets",
        types.NoneType: "none",
    }
    if typing.get_args(kind):
        return " or ".join(words.get(each, str(each)) for each in typing.get_args(kind))
    return words.get(kind, str(kind))
