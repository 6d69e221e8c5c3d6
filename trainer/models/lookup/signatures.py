"""Signatures of networks: which parameters are options, read from source or function.

The source is enough to refuse a wrong option before TensorFlow is imported. What it
does not tell, such as the signature behind a decorator, the imported function does.
"""

import ast
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from trainer.config.options import Bounds, require
from trainer.config.schema import ModelConfig
from trainer.config.serialization import fits

SYNC = "sync_batch_norm"  # the option that ModelConfig.sync_batch_norm sets
CLASSES = "num_classes"  # as the first parameter: the function returns a model
SHAPE = "image_shape"
FORMS = "(x, num_classes, *, OPTIONS) or (num_classes, image_shape, *, OPTIONS)"
_BUILTINS = {kind.__name__: kind for kind in (bool, int, float, str, list)}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLACED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One option of a network.

    Attributes:
        type: the annotated type; Any if the source code does not tell.
        default: the default as it is written in the source code; "": none.
    """

    type: Any
    default: str


@dataclasses.dataclass(frozen=True)
class Signature:
    """The options of a network by name.

    Attributes:
        parameters: the named options.
        accepts_any: whether the network accepts other options, too (``**kwargs``).
        builds_model: whether it takes (num_classes, ...) and returns a Keras model; it
            takes (x, num_classes, ...) and returns logits otherwise.
    """

    parameters: Mapping[str, Parameter]
    accepts_any: bool = False
    builds_model: bool = False


def parse_signature(
    source: str, function: str, name: str | None = None
) -> Signature | None:
    """Parses the options of a top-level function of Python source; None if missing.

    `name` is what messages call it.

    Raises:
        InvalidConfig: the function cannot be called as a network is.

    >>> code = "def f(x, num_classes, *, width: float = 1.0): pass"
    >>> parse_signature(code, "f").parameters
    {'width': Parameter(type=<class 'float'>, default='1.0')}
    """
    for node in reversed(ast.parse(source).body):
        plain = isinstance(node, ast.FunctionDef) and not node.decorator_list
        if plain and node.name == function:
            return _signature(_parameters(node.args), name or function)
    return None


def inspect_signature(function: Callable[..., Any], name: str) -> Signature:
    """Reads the options of an imported function; it is called `name` in messages.

    Raises:
        InvalidConfig: the function cannot be called as a network is.
    """
    try:
        seen = inspect.signature(function, eval_str=True)
    except Exception:  # noqa: BLE001  annotations that cannot be evaluated say nothing
        seen = inspect.signature(function)
    return _signature(list(seen.parameters.values()), name)


def _parameters(arguments: ast.arguments) -> list[inspect.Parameter]:
    """Converts the parameters of a parsed function; annotations are evaluated."""
    placed = [*arguments.posonlyargs, *arguments.args]
    first_default = len(placed) - len(arguments.defaults)
    found = []
    for number, each in enumerate(placed):
        positional_only = number < len(arguments.posonlyargs)
        kind = _PLACED[1] if positional_only else _PLACED[0]
        there = number >= first_default
        default = arguments.defaults[number - first_default] if there else None
        found.append(_parameter(each, kind, default))
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(_parameter(each, inspect.Parameter.KEYWORD_ONLY, default))
    if arguments.kwarg is not None:
        found.append(_parameter(arguments.kwarg, inspect.Parameter.VAR_KEYWORD, None))
    return found


def _parameter(each: ast.arg, kind: Any, default: ast.expr | None) -> inspect.Parameter:
    written = inspect.Parameter.empty if default is None else _Source(default)
    annotation = _annotated(each.annotation)
    return inspect.Parameter(each.arg, kind, default=written, annotation=annotation)


class _Source:
    """A default as it is written in the source code."""

    def __init__(self, node: ast.expr) -> None:
        self._text = ast.unparse(node)

    def __repr__(self) -> str:
        return self._text


def _signature(seen: list[inspect.Parameter], name: str) -> Signature:
    """Tells the options from the parameters that the toolkit fills."""
    placed = [each.name for each in seen if each.kind in _PLACED]
    builds_model = placed[:1] == [CLASSES]
    filled = {CLASSES, SHAPE} if builds_model else set(placed[:2])
    shown = ", ".join(placed) or "no parameters"
    require(
        builds_model or (len(filled) == 2 and SHAPE not in filled),
        f"{name} takes ({shown}); it must take {FORMS}",
    )
    found = {}
    for each in seen:
        if each.name in filled or each.kind not in (*_PLACED, *_NAMED):
            continue
        require(
            each.kind in _NAMED,
            f"{name} takes {each.name} by its position only; leave out the / after it",
        )
        kind = Any if each.annotation is each.empty else each.annotation
        default = "" if each.default is each.empty else repr(each.default)
        found[each.name] = Parameter(kind, default)
    kinds = {each.kind for each in seen}
    accepts_any = inspect.Parameter.VAR_KEYWORD in kinds
    return Signature(found, accepts_any=accepts_any, builds_model=builds_model)


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


def check_against(
    config: ModelConfig, known: Signature, bounds: Mapping[str, Bounds]
) -> None:
    """Raises InvalidConfig unless a network of this signature takes its options.

    `bounds` are those of numbers, by the name of the option.
    """
    require(
        SYNC in known.parameters or not config.sync_batch_norm,
        f"`{SYNC}` has no effect on model={config.name}, which has no such option; "
        "leave it out",
    )
    for name, value in config.kwargs.items():
        _check_option(config.name, known, name, value, bounds.get(name))
    for name, option in known.parameters.items():
        require(
            option.default != "" or name in config.kwargs or name == SYNC,
            f"model={config.name} has the option {name} without a default; add "
            f"model_kwargs={name}=VALUE",
        )


def _check_option(
    network: str, known: Signature, name: str, value: Any, limits: Bounds | None
) -> None:
    options = {n: p for n, p in known.parameters.items() if n != SYNC}
    there = ", ".join(f"{n}={p.default}" for n, p in options.items()) or "none"
    given = f"model_kwargs={name}={value}"
    require(name != SYNC, f"{given}: `{SYNC}` is an option of its own, use that")
    require(name not in (CLASSES, SHAPE), f"{given}: the data decide it; leave it out")
    require(
        name in options or known.accepts_any,
        f"{given}: model={network} has no option {name}; it has {there}",
    )
    if name not in options:
        return
    kind = options[name].type
    require(fits(value, kind), f"{given}: {name} must be {_named(kind)}")
    if limits is not None:
        require(
            isinstance(value, int | float) and limits.contain(value),
            f"{given}: {name} must be a number {limits}",
        )


def complete_options(config: ModelConfig, known: Signature) -> dict[str, Any]:
    """The keyword arguments of a network: the given ones, in the types it declares."""
    given = dict(config.kwargs)
    for option in given.keys() & known.parameters.keys():
        if known.parameters[option].type is float:
            given[option] = float(given[option])
    if SYNC in known.parameters:
        given[SYNC] = config.sync_batch_norm
    return given


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
