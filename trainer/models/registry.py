"""Registry of networks and their options; it does not import TensorFlow.

A network of ours is a function ``(x, num_classes, *, option=default) -> logits``: a
float Keras tensor [N, H, W, C] with values in [-1, 1) becomes logits [N, K]. Its
keyword arguments are its options, ``ModelConfig.kwargs``. They are read from the source
code, so that a wrong option is refused before TensorFlow is imported; `load` checks the
function itself. Any other network is built once, and trained from its description.
"""

import dataclasses
import importlib
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any

from trainer.config.options import Bounds, require
from trainer.config.run_config import RunConfig
from trainer.config.schema import PENDING, Config, ModelConfig
from trainer.models.lookup import application_signatures, own_network
from trainer.models.lookup.own_network import NetworkFile
from trainer.models.lookup.signatures import (
    Signature,
    check_against,
    complete_options,
    inspect_signature,
    parse_signature,
)

MODELS = {
    "cnn": "trainer.models.networks.cnn:cnn",
    "mobilenet": "trainer.models.networks.mobilenet:mobilenet",
    "resnet8": "trainer.models.networks.resnet:resnet8",
    "resnet20": "trainer.models.networks.resnet:resnet20",
    "speednet": "trainer.models.networks.speednet:speednet",
}
# Of other networks.
FORMS = ("FILE.py:FUNCTION", "package.module:FUNCTION", application_signatures.FORM)
ANY_SIZE = ("speednet",)  # networks whose body takes images of any height and width
BOUNDS = {
    "width": Bounds(above=0, at_most=64),
    "dropout": Bounds(at_least=0, below=1),
    "stochastic_depth": Bounds(at_least=0, below=1),
}


def read_signature(name: str) -> Signature | None:
    """Reads the options of our network `name` from its source, without importing it.

    Returns None if the name is not a plain function of the module.
    """
    module, function = MODELS[name].split(":")
    spec = importlib.util.find_spec(module)
    return parse_signature(pathlib.Path(spec.origin).read_text(), function)


def check_options(config: ModelConfig) -> None:
    """Raises InvalidConfig unless our network accepts the options of `config`."""
    require(
        config.name in MODELS,
        f"model={config.name} is not one of {', '.join(sorted(MODELS))}, nor "
        f"{' or '.join(FORMS)}",
    )
    if (known := read_signature(config.name)) is not None:
        check_against(config, known, BOUNDS)


def locate_network(config: Config, run_config: RunConfig) -> tuple[Config, RunConfig]:
    """Finds the network that `config` names, and checks its options.

    Nothing is imported, neither TensorFlow nor a user's file.

    Returns:
        Both configs. For a network that is not in MODELS the first has an architecture
        that is PENDING; for one of a file also the SHA-256 of its source, and the
        second the path of the file.

    Raises:
        InvalidInput: there is no such network, or it does not have these options.
    """
    model = config.model
    if model.architecture is not None:
        return config, run_config
    if model.name.startswith(application_signatures.PREFIX):
        known = application_signatures.read_signature(model.name)
        check_against(model, known, application_signatures.BOUNDS)
        model = dataclasses.replace(model, architecture=PENDING)
        return dataclasses.replace(config, model=model), run_config
    if ":" not in model.name and not model.name.endswith(".py"):
        check_options(model)
        return config, run_config
    found = own_network.open_network(model.name)
    model = dataclasses.replace(
        model, name=found.name, architecture=PENDING, source_sha256=found.sha256
    )
    if (known := found.signature()) is not None:
        check_against(model, known, {})
    config = dataclasses.replace(config, model=model)
    return config, dataclasses.replace(run_config, model_file=str(found.path))


def import_network(config: ModelConfig, file: NetworkFile | None = None) -> Any:
    """Imports the network that `config` names: a function or a Keras model.

    `file` is the source file of a user's network.

    Raises:
        InvalidInput: the user's file raises an error, or has no such function.
    """
    if file is not None:
        return file.load()
    if config.name.startswith(application_signatures.PREFIX):
        module = importlib.import_module("trainer.models.networks.applications")
        return module.network(config.name)
    module, function = MODELS[config.name].split(":")
    return getattr(importlib.import_module(module), function)


def load(config: ModelConfig) -> Callable[..., Any]:
    """Loads our network with its options: (x, num_classes) -> logits.

    Raises:
        InvalidConfig: the network does not have these options.
    """
    check_options(config)
    function = import_network(config)
    known = inspect_signature(function, f"model={config.name}")
    check_against(config, known, BOUNDS)
    given = complete_options(config, known)

    def network(x: Any, num_classes: int) -> Any:
        return function(x, num_classes, **given)

    return network
