"""Names and options of keras.applications, read without TensorFlow."""

import inspect
import json
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from tests.support.flag_values import read
from trainer.config.schema import PENDING
from trainer.errors import InvalidConfig
from trainer.models.lookup import application_signatures


def test_every_network_is_found_without_tensorflow():
    program = (
        "import json, sys\n"
        "from trainer.models.lookup import application_signatures as found\n"
        "for name in found.names(): found.read_signature(name)\n"
        "print(json.dumps([found.names(), sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    names, modules = json.loads(done.stdout)
    assert {"keras:MobileNetV2", "keras:ConvNeXtTiny", "keras:VGG16"} <= set(names)
    assert not {"tensorflow", "keras"} & set(modules)


def test_the_source_says_what_the_imported_functions_do():
    import keras

    exported = {
        f"keras:{name}"
        for name, value in vars(keras.applications).items()
        if inspect.isfunction(value)
    }
    assert set(application_signatures.names()) == exported
    for name in exported:
        function = getattr(keras.applications, name.removeprefix("keras:"))
        seen = inspect.signature(function).parameters
        options = application_signatures.read_signature(name).parameters
        assert seen.keys() - options.keys() <= application_signatures.FILLED
        for option in options.keys() - application_signatures.HEAD.keys():
            assert options[option].default == repr(seen[option].default)


def test_options_of_mobilenet_v3_small():
    found = application_signatures.read_signature("keras:MobileNetV3Small")
    assert found.builds_model
    assert {name: (p.type, p.default) for name, p in found.parameters.items()} == {
        "alpha": (float, "1.0"),
        "minimalistic": (bool, "False"),
        "dropout": (float, "0.0"),
        "sync_batch_norm": (bool, "False"),
    }


def test_a_name_is_taken_with_its_options():
    words = ["--model=keras:MobileNetV2", "--model_kwargs=alpha=0.5,dropout=0.2"]
    config, run_config = read(*words, "--sync_batch_norm")
    assert config.model.architecture == PENDING
    assert config.model.source_sha256 is None
    assert run_config.model_file is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model=keras:", "no network of keras.applications; it has MobileNetV2,"),
        ("--model=keras:mobilenetv2", "it has MobileNet, MobileNetV2, MobileNetV3Sm"),
        ("--model=keras:ResNet", "it has ResNet50, ResNet101, ResNet152 and others$"),
        ("--model=keras:imagenet_utils", "no network of keras.applications"),
        ("--model=keras:MobileNetV2 --model_kwargs=width=2", "no option width; it has"),
        ("--model=keras:VGG16 --model_kwargs=alpha=2", "it has dropout=0.0$"),
        ("--model=keras:VGG16 --model_kwargs=weights=imagenet", "no option weights"),
        ("--model=keras:MobileNet --model_kwargs=alpha=0", "a number above 0 and at m"),
        ("--model=keras:MobileNet --model_kwargs=alpha=x", "alpha must be a number"),
        (
            "--model=keras:MobileNet --model_kwargs=depth_multiplier=1.5",
            "must be a whole number",
        ),
        (
            "--model=keras:MobileNetV3Small --model_kwargs=minimalistic=2",
            "must be true or false",
        ),
        ("--model=keras:VGG16 --model_kwargs=dropout=1", "at least 0 and below 1"),
    ],
)
def test_a_wrong_name_or_option_is_refused_in_a_line(words, said):
    with pytest.raises(InvalidConfig, match=said) as raised:
        read(*words.split())
    assert len(str(raised.value).splitlines()) == 1
