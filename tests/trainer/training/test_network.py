"""A user's network is built once, and what it returns is checked with file and line."""

import types

import keras
import pytest

from tests.support.commands import ROOT
from tests.support.flag_values import read
from trainer.config.schema import PENDING, Config, ModelConfig
from trainer.errors import InvalidInput
from trainer.models import architecture
from trainer.models.lookup import own_network
from trainer.training import network

DATASET = types.SimpleNamespace(
    image_shape=(8, 8, 3), train=types.SimpleNamespace(names=tuple("abcd"))
)
FILE = """
import functools
import keras

def network(x, num_classes, *, width: int = 4):
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(width, 3)(x))
    return keras.layers.Dense(num_classes)(x)

def raises(x, num_classes):
    return network(x, num_classes) + undefined

def small(x, num_classes):
    return network(keras.layers.MaxPooling2D(16)(x), num_classes)

def wide(x, num_classes):
    return network(x, num_classes + 1)

def image(x, num_classes):
    return keras.layers.Conv2D(num_classes, 1)(x)

def nothing(x, num_classes):
    network(x, num_classes)

def several(x, num_classes):
    return [network(x, num_classes)] * 2

def a_model(x, num_classes):
    return keras.Model(x, network(x, num_classes))

def unrelated(x, num_classes):
    return network(keras.Input((8, 8, 3)), num_classes)

def ends(x, num_classes):
    raise SystemExit

@keras.saving.register_keras_serializable("mine")
class Own(keras.layers.Layer):
    def call(self, x):
        return x * 2

def own_class(x, num_classes):
    return Own()(network(x, num_classes))

wrapped = functools.partial(network, width=8)
number = 3
"""
BAD = {
    "raises": "cannot be built: NameError: name 'undefined' is not defined\n.*line 10;",
    "small": r"(cannot be built: \w+Error|does not take images)",
    "wide": r"must return logits \[N, 4\], got \[None, 5\]",
    "image": r"must return logits \[N, 4\], got \[None, 8, 8, 4\]",
    "nothing": r"must return logits \[N, 4\]",
    "several": r"must return logits \[N, 4\]",
    "a_model": r"must return logits \[N, 4\]",
    "unrelated": "",
    "ends": "cannot be built: SystemExit",
    "own_class": "has a layer or another class of network_file_nets",
    "number": "is 3, no function",
    "wrapped|--model_kwargs=depth=3": "has no option depth; it has width=8",
    "wrapped|--model_kwargs=width=wide": "width must be a whole number",
}


@pytest.fixture
def described(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(FILE)

    def describe(name: str, *words: str) -> Config:
        config, run_config = read(f"--model=nets.py:{name}", *words)
        file = own_network.reopen_network(config.model, run_config.model_file)
        return network.describe_network(config, DATASET, file, None)

    return describe


@pytest.mark.parametrize("words", BAD)
def test_what_is_no_network_is_refused_in_two_lines(described, words):
    name, *more = words.split("|")
    with pytest.raises(InvalidInput, match=f"(?s){BAD[words]}") as raised:
        described(name, *more)
    assert 1 <= len(str(raised.value).splitlines()) <= 2
    assert name in str(raised.value) or "--model_kwargs" in words


def test_a_file_and_a_script_describe_the_same_network(described):
    found = described("wrapped", "--model_kwargs=width=6").model.architecture
    assert found == described("network", "--model_kwargs=width=6").model.architecture
    config = Config(model=ModelConfig(name="f", architecture=PENDING))

    def function(x, num_classes):
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(6, 3)(x))
        return keras.layers.Dense(num_classes)(x)

    scripted = network.describe_network(config, DATASET, None, function)
    assert scripted.model.architecture == found


@pytest.mark.parametrize("name", ["network", "model"])
def test_both_forms_of_the_template_are_networks(name):
    path = ROOT / "examples" / "my_net.py"
    config, run_config = read(f"--model={path}:{name}", "--model_kwargs=width=0.5")
    file = own_network.reopen_network(config.model, run_config.model_file)
    found = network.describe_network(config, DATASET, file, None).model.architecture
    assert "trainer>BatchNorm" in found and "trainer>Dropout" in found
    assert "softmax" not in found


def test_a_difference_of_two_networks_is_told_by_layers(described):
    narrow = described("network").model.architecture
    wide = described("network", "--model_kwargs=width=6").model.architecture
    assert "filters: 4 != 6" in architecture.explain_difference(narrow, wide)
    assert architecture.explain_difference(narrow, narrow).startswith("the order")
