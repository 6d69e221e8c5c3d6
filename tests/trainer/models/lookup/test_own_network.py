"""A user's file: what is wrong with it is said in two lines, before TensorFlow."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from tests.support.flag_values import read
from trainer.config.schema import PENDING
from trainer.errors import InvalidInput
from trainer.models import registry
from trainer.models.lookup import own_network

GOOD = """
import keras
def network(x, num_classes, *, width: int = 8, depth: int = 2, **more):
    raise RuntimeError("nobody calls it here")
def model(num_classes, image_shape, *, width: float = 1.0): pass
def hard(x, num_classes, width): pass
def alone(x): pass
def none(): pass
def star(*args): pass
def shape(image_shape, num_classes): pass
def second(x, image_shape): pass
def placed(x, num_classes, width=8, /): pass
def options(x, num_classes, *, rate: float = 0.1, flat: bool = True): pass
class Net:
    def build(self, num_classes): pass
def outer():
    def inner(x, num_classes): pass
"""
# Words after --model=, `|` and more flags; what is said, and must name the model.
BAD = {
    "good.py": "must be FILE.py:FUNCTION",
    "good.py:": "must be FILE.py:FUNCTION",
    "good.py:a-b": "must be FILE.py:FUNCTION",
    ":network": "must be FILE.py:FUNCTION",
    "good:network:more": "neither a file FILE.py nor a module's name",
    "missing.py:network": "missing.py cannot be read: No such file",
    "folder.py:network": "folder.py cannot be read: Is a directory",
    "pipe.py:network": "pipe.py cannot be read: it is not a regular file",
    "large.py:network": "more than the limit",
    "~no_such_user/good.py:network": "the home directory of ~no_such_user is",
    "syntax.py:network": "no Python source: line 2",
    "bytes.py:network": "no Python source",
    "zero.py:network": "no Python source",
    "empty.py:network": "there is no network in .*; it has no functions",
    "good.py:netwrok": "there is no netwrok in .*; it has network, model, hard, .*oth",
    "good.py:inner": "there is no inner in",
    "good.py:build": "there is no build in",
    "good.py:alone": r"takes \(x\); it must take \(x, num_classes",
    "good.py:none": r"takes \(no parameters\); it must take",
    "good.py:star": r"takes \(no parameters\); it must take",
    "good.py:shape": r"takes \(image_shape, num_classes\); it must take",
    "good.py:second": r"takes \(x, image_shape\); it must take",
    "good.py:placed": "takes width by its position only",
    "good.py:hard": "has the option width without a default; add --model_kwargs=width=",
    "good.py:model|--model_kwargs=depth=3": "has no option depth; it has width=1.0",
    "good.py:network|--model_kwargs=width=0.5": "width must be a whole number",
    "good.py:model|--model_kwargs=width=wide": "width must be a number",
    "good.py:options|--model_kwargs=flat=3": "flat must be true or false",
    "good.py:network|--model_kwargs=num_classes=3": "the data decide it; leave it out",
    "good.py:model|--model_kwargs=image_shape=3": "the data decide it; leave it out",
    "good.py:network|--sync_batch_norm": "--sync_batch_norm has no effect",
    "no_such_module:network": "there is no module no_such_module",
    "json.no_such:network": "there is no module json.no_such",
    "a..b:network": "neither a file FILE.py nor a module's name",
    "math:sqrt": "math has no source file",
    "json:no_such": "there is no no_such in .*json.*; it has",
    "no_such_network": "is not one of cnn, .* nor FILE.py:FUNCTION",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "syntax.py").write_text("import keras\ndef network(x, num_classes:\n")
    (tmp_path / "bytes.py").write_bytes(b"name = '\xff'\n")
    (tmp_path / "zero.py").write_bytes(b"def network(x, n): pass\0")
    (tmp_path / "empty.py").touch()
    (tmp_path / "large.py").write_bytes(b"#" * (own_network.SOURCE_BYTES + 1))
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "nets" / "small.py").write_text(GOOD)
    return tmp_path


@pytest.mark.parametrize("words", BAD)
def test_a_wrong_file_or_signature_is_refused_in_two_lines(folder, words):
    name, *more = words.split("|")
    with pytest.raises(InvalidInput, match=f"(?s){BAD[words]}") as raised:
        read(f"--model={name}", *more)
    assert 1 <= len(str(raised.value).splitlines()) <= 2
    assert "--model" in str(raised.value)


def test_a_file_is_named_without_its_folder_and_hashed(folder, monkeypatch):
    config, run_config = read("--model=good.py:network", "--model_kwargs=odd=[1,2]")
    assert config.model.name == "good.py:network"
    assert config.model.architecture == PENDING
    assert len(config.model.source_sha256) == 64
    assert run_config.model_file == str(folder / "good.py")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    again, _ = read("--model=../good.py:network", "--model_kwargs=odd=[1,2]")
    assert again == config
    (folder / "good.py").write_text(GOOD + "\n")
    changed, _ = read("--model=../good.py:network", "--model_kwargs=odd=[1,2]")
    assert changed.model.source_sha256 != config.model.source_sha256


def test_a_module_is_found_without_importing_its_package(folder):
    config, run_config = read("--model=nets.small:model")
    assert config.model.name == "nets.small:model"
    assert run_config.model_file == str(folder / "nets" / "small.py")


def test_what_the_source_does_not_tell_is_left_to_the_import(folder):
    """A decorated function, one of another module, a star, an assignment."""
    (folder / "late.py").write_text(
        "import functools\nfrom good import network as other\n"
        "@functools.cache\ndef decorated(x, num_classes, *, width=1): pass\n"
        "partial = functools.partial(decorated, width=3)\n"
    )
    (folder / "star.py").write_text("from good import *\n")
    for name in ("late.py:other", "late.py:decorated", "late.py:partial"):
        assert read(f"--model={name}", "--model_kwargs=any=3")[0].model.name == name
    assert read("--model=star.py:network")[0].model.architecture == PENDING


def test_the_last_definition_of_a_name_counts(folder):
    (folder / "two.py").write_text(
        "def network(x): pass\ndef network(x, num_classes, *, width=3): pass\n"
    )
    read("--model=two.py:network", "--model_kwargs=width=2")


def load(name):
    config, run_config = read(f"--model={name}")
    file = own_network.reopen_network(config.model, run_config.model_file)
    return registry.import_network(config.model, file)


RAISING = {
    "1 / 0": "ZeroDivisionError: division by zero",
    "import no_such_package": "ModuleNotFoundError: No module named 'no_such_package'",
    "raise SystemExit(3)": "SystemExit: 3",
    "from good import nothing": "ImportError: cannot import name 'nothing'",
    "del network": "there is no network in .* once it is imported",
}


@pytest.mark.parametrize("line", RAISING)
def test_an_error_in_the_file_is_told_with_its_line(folder, line):
    (folder / "good.py").write_text("")
    (folder / "raising.py").write_text(f"def network(x, num_classes): pass\n\n{line}\n")
    with pytest.raises(InvalidInput, match=RAISING[line]) as raised:
        load("raising.py:network")
    assert len(str(raised.value).splitlines()) <= 2
    assert "raising.py, line 3" in str(raised.value) or line.startswith("del")


def test_a_file_may_import_its_neighbours_and_is_not_named_as_a_package(folder):
    (folder / "blocks_of_mine.py").write_text("SIZE = 3\n")
    (folder / "json.py").write_text(
        "import json\nfrom blocks_of_mine import SIZE\n"
        "def network(x, num_classes): return json.dumps([SIZE])\n"
    )
    import json as before

    assert load("json.py:network")(None, 10) == "[3]"
    assert sys.modules["json"] is before


def test_a_file_that_changes_during_the_start_is_refused(folder):
    config, run_config = read("--model=good.py:network")
    (folder / "good.py").write_text(GOOD + "\n")
    with pytest.raises(InvalidInput, match="was changed while the training started"):
        own_network.reopen_network(config.model, run_config.model_file)


def test_neither_keras_nor_the_file_is_imported_to_check_it(folder):
    program = (
        "import json, sys\nfrom tests.support.flag_values import read\n"
        "read('--model=good.py:network')\nread('--model=nets.small:network')\n"
        "found = [m for m in ('tensorflow', 'keras', 'nets') if m in sys.modules]\n"
        "print(json.dumps(found))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) == [], done.stderr
