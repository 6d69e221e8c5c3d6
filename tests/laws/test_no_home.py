"""A user without a home folder, as in a container: no folder called ~ is made."""

import os
import pwd
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from trainer.cli import process_settings
from trainer.data import catalogue
from trainer.data.store import folders
from trainer.errors import InvalidInput


@pytest.fixture
def homeless(monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "TFDS_DATA_DIR", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: {}["none"])


def test_a_default_folder_in_the_home_is_refused_with_the_remedy(homeless):
    with pytest.raises(
        InvalidInput, match="has none;\nname .* `data_dir` .* TFDS_DATA"
    ):
        catalogue.folder(None)
    with pytest.raises(
        InvalidInput, match="has none;\nname .* `data_dir` .* XDG_CACHE"
    ):
        folders.search_folders(None)
    assert [str(path) for path in folders.search_folders("data")] == ["data/stores"]


def test_keras_gets_a_folder_of_its_own(homeless, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    process_settings.configure_process()
    assert os.environ["KERAS_HOME"].endswith(f"/.keras-{os.getuid()}")


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.main", "--dataset=digits"],
        ["trainer.prepare", "--dataset=digits"],
        ["trainer.prepare", "--image_dir=pictures", "--image_size=16"],
    ],
    ids=["train", "prepare", "store"],
)
def test_a_command_leaves_no_folder_called_tilde(words, tmp_path):
    """HOME=~ has the effect of no home: the name of the folder stays as it is."""
    (tmp_path / "pictures").mkdir()
    hidden = ("XDG_CACHE_HOME", "TFDS_DATA_DIR", "KERAS_HOME")
    env = {k: v for k, v in os.environ.items() if k not in hidden}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=tmp_path,
        env={**env, "PYTHONPATH": str(ROOT), "HOME": "~"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert os.listdir(tmp_path) == ["pictures"]
    assert "Traceback" not in done.stderr
