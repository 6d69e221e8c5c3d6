"""The networks of keras.applications by name, `keras:MobileNetV2`, and their options.

Names and options are read from Keras' source, without importing it: that would import
TensorFlow.
"""

import ast
import difflib
import functools
import importlib.util
import inspect
import pathlib
from collections.abc import Mapping

from trainer.config.options import Bounds, require
from trainer.models.lookup import signatures
from trainer.models.lookup.signatures import Parameter, Signature

PREFIX = "keras:"
FORM = f"{PREFIX}NAME"
EXAMPLES = ("MobileNetV2", "MobileNetV3Small", "EfficientNetB0")
BOUNDS = {"alpha": Bounds(above=0, at_most=64), "dropout": Bounds(at_least=0, below=1)}
# Parameters of Keras' functions that the toolkit fills, or that need Keras' own head.
FILLED = frozenset(
    (
        "include_top",
        "weights",
        "input_tensor",
        "input_shape",
        "pooling",
        "classes",
        "classifier_activation",
        "include_preprocessing",
        "name",
        "dropout",
        "dropout_rate",
    )
)
HEAD = {"dropout": Parameter(float, "0.0"), signatures.SYNC: Parameter(bool, "False")}


def names() -> list[str]:
    """The networks that keras.applications has, as the option `model` names them."""
    return [f"{PREFIX}{function}" for function in _modules()]


def function_name(name: str) -> str:
    """The name of Keras' function for the network `name`.

    Raises:
        InvalidConfig: keras.applications has no such network.
    """
    function, known = name.removeprefix(PREFIX), _modules()
    close = difflib.get_close_matches(function.lower(), map(str.lower, known), n=3)
    meant = [word for word in known if word.lower() in close]
    require(
        function in known,
        f"model={name} is no network of keras.applications; it has "
        f"{', '.join(meant or EXAMPLES)} and others",
    )
    return function


def read_signature(name: str) -> Signature:
    """Reads the options of the network `name` from Keras' source.

    Raises:
        InvalidConfig: keras.applications has no such network.
    """
    function = function_name(name)
    source = pathlib.Path(_modules()[function]).read_text()
    (node,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == function
    )
    defaults = map(ast.literal_eval, node.args.defaults)
    pairs = zip((each.arg for each in node.args.args), defaults, strict=True)
    options = {
        option: Parameter(type(default), repr(default))
        for option, default in pairs
        if option not in FILLED
    }
    return Signature({**options, **HEAD}, builds_model=True)


def signature_of_call(options: Mapping[str, Parameter]) -> inspect.Signature:
    """The signature of a function (num_classes, image_shape, *, options)."""
    kind = inspect.Parameter
    found = [
        kind(name, kind.POSITIONAL_OR_KEYWORD)
        for name in (signatures.CLASSES, signatures.SHAPE)
    ]
    for name, option in options.items():
        default = ast.literal_eval(option.default)
        found.append(
            kind(name, kind.KEYWORD_ONLY, default=default, annotation=option.type)
        )
    return inspect.Signature(found)


@functools.cache
def _modules() -> Mapping[str, str]:
    """The source file of each network that keras.applications exports, by its name."""
    (package,) = importlib.util.find_spec("keras").submodule_search_locations
    root = pathlib.Path(package)
    tree = ast.parse((root / "applications" / "__init__.py").read_text())
    return {
        alias.asname or alias.name: str(
            root.parent / f"{node.module.replace('.', '/')}.py"
        )
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module.startswith("keras.src")
        for alias in node.names
    }
