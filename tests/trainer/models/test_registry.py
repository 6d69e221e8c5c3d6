"""Options of networks: read from their source, checked before and after the import."""

import json
import subprocess
import sys
import typing

import pytest

from tests.support.commands import ROOT
from tests.support.flag_values import read
from trainer.config.schema import ModelConfig
from trainer.errors import InvalidConfig
from trainer.models import registry
from trainer.models.lookup import signatures

SOURCE = """
import typing
from typing import Literal
DEFAULT = 3
def network(x, num_classes, depth: int = DEFAULT, *, width: float = 1.0,
            norm: Literal["batch", "none"] = "batch", drop: float | None = None,
            mode: typing.Literal[1, 2] = 1, odd: "Later" = object(), **more): pass
"""


def test_a_signature_is_read_from_source():
    found = signatures.parse_signature(SOURCE, "network")
    assert {name: p.type for name, p in found.parameters.items()} == {
        "depth": int,
        "width": float,
        "norm": typing.Literal["batch", "none"],
        "drop": float | None,
        "mode": typing.Literal[1, 2],
        "odd": typing.Any,
    }
    assert found.parameters["depth"].default == "DEFAULT"
    assert found.accepts_any
    assert signatures.parse_signature(SOURCE, "other") is None
    decorated = SOURCE.replace("def network", "@x\ndef network")
    assert signatures.parse_signature(decorated, "network") is None


@pytest.mark.parametrize("name", registry.MODELS)
def test_the_source_says_what_the_imported_function_does(name):
    import inspect

    function = registry.import_network(ModelConfig(name=name))
    seen = inspect.signature(function).parameters
    read_ones = registry.read_signature(name).parameters
    assert list(read_ones) == [n for n, p in seen.items() if p.kind is p.KEYWORD_ONLY]
    hints = typing.get_type_hints(function)
    assert {n: p.type for n, p in read_ones.items()} == {n: hints[n] for n in read_ones}
    assert {n: p.default for n, p in read_ones.items()} == {
        n: repr(seen[n].default) for n in read_ones
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model_kwargs=wdith=2", "no option wdith; it has width=1.0, dropout=0.3$"),
        ("--model_kwargs=width=0", "width must be a number above 0 and at most 64"),
        ("--model_kwargs=width=65", "width must be a number above 0 and at most 64"),
        ("--model_kwargs=width=wide", "width must be a number"),
        ("--model_kwargs=width=true", "width must be a number"),
        ("--model_kwargs=dropout=1", "dropout must be a number at least 0 and below 1"),
        ("--model=resnet8 --model_kwargs=stochastic_depth=1", "at least 0 and below 1"),
        ("--model=mobilenet --model_kwargs=stochastic_depth=0.1", "no option stochast"),
        ("--model_kwargs=activation=tanh --model=speednet", "must be relu or gelu"),
        ("--model_kwargs=whiten=3 --model=speednet", "whiten must be true or false"),
        ("--model_kwargs=sync_batch_norm=true --model=resnet8", "use that$"),
        ("--sync_batch_norm", "--sync_batch_norm has no effect on --model=cnn"),
    ],
)
def test_a_wrong_option_is_refused_in_a_line_that_names_what_there_is(words, said):
    with pytest.raises(InvalidConfig, match=said) as raised:
        read(*words.split())
    assert len(str(raised.value).splitlines()) == 1


def test_options_given_again_add_up():
    words = ["--model_kwargs=width=0.5,dropout=0.1", "--model_kwargs=dropout=0.2"]
    assert read(*words)[0].model.kwargs == {"width": 0.5, "dropout": 0.2}
    assert read(*words, "--model_kwargs=")[0].model.kwargs == {}


OPEN = """
import functools
def network(x, num_classes, **options): return options
def annotated(x, num_classes, *, sizes: "tuple[int, ...]" = (1,), rate: "float" = 0):
    return sizes, rate
partial = functools.partial(annotated, sizes=(3,))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "nets_of_a_test.py").write_text(OPEN)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("network", "annotated", "partial"):
        monkeypatch.setitem(registry.MODELS, name, f"nets_of_a_test:{name}")


def test_a_function_that_takes_anything_gets_it(module):
    config = ModelConfig(name="network", kwargs={"a": 1, "b": "x"})
    assert registry.load(config)(None, 10) == {"a": 1, "b": "x"}


@pytest.mark.parametrize("name", ["annotated", "partial"])
def test_what_the_source_does_not_tell_is_checked_after_the_import(module, name):
    config = ModelConfig(name=name, kwargs={"rate": "high"})
    registry.check_options(config)
    with pytest.raises(InvalidConfig, match="rate must be a number"):
        registry.load(config)
    good = ModelConfig(name=name, kwargs={"rate": 1, "sizes": [2]})
    assert registry.load(good)(None, 10) == ([2], 1.0)


def test_reading_signatures_imports_no_tensorflow():
    program = (
        "import json, sys\nfrom trainer.models import registry\n"
        "for name in registry.MODELS: registry.read_signature(name)\n"
        "print(json.dumps([m for m in ('tensorflow', 'keras') if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == [], done.stderr
