"""Errors of the library as two lines of a command: options become its flags."""

import os
import subprocess
import sys

import pytest
from absl import flags

from tests.support.commands import ROOT
from trainer import errors
from trainer.cli import command


@pytest.fixture
def values():
    values = flags.FlagValues()
    flags.DEFINE_integer("seed", 0, "Seed.", flag_values=values)
    flags.DEFINE_string("run_dir", None, "Run.", flag_values=values)
    flags.DEFINE_bool("deterministic", True, "Equal bits.", flag_values=values)
    return values


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("seed=-1 must be at least 0", "--seed=-1 must be at least 0"),
        ("it needs `run_dir`", "it needs --run_dir"),
        ("lower `seed`; (seed=3) works", "lower --seed; (--seed=3) works"),
        ("try `seed=3`", "try --seed=3"),
        ("deterministic=False differs", "--nodeterministic differs"),
        ("needs deterministic=False: XLA", "needs --nodeterministic: XLA"),
        ("got deterministic=True, so", "got --deterministic, so"),
        ("leave `nodeterministic` out", "leave --nodeterministic out"),
        ("`deterministic` is slow", "--deterministic is slow"),
        ("use `flagfile`", "use --flagfile"),
        ("run_dir='' is empty", "--run_dir='' is empty"),
        ("--seed=3 stays", "--seed=3 stays"),
    ],
)
def test_options_become_flags(values, message, shown):
    assert command.translate_options(message, values) == shown


@pytest.mark.parametrize(
    "message",
    [
        "epochs=3 and `epochs` are of another command",
        "/data/seed=3/x and x-seed=3 are paths",
        "a list: width=0.5,seed=3",
        "the word seed, `noseed` and nosuch=1",
    ],
)
def test_what_is_no_option_of_the_command_stays(values, message):
    assert command.translate_options(message, values) == message


LEAVES = """
import atexit, sys, threading, time, types
from trainer.cli import command
sys.modules["tensorflow"] = types.ModuleType("tensorflow")
threading.Thread(target=lambda: (time.sleep(0.2), print("sent"))).start()
atexit.register(lambda: print("at exit"))
command.leave_process(7)
"""


def test_a_command_leaves_once_all_is_sent_and_written():
    env = {name: text for name, text in os.environ.items() if name != "TF_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-c", LEAVES], cwd=ROOT, capture_output=True, env=env
    )
    assert (done.returncode, done.stdout.split()) == (7, [b"sent", b"at", b"exit"])


def test_an_invalid_config_is_wrong_usage_of_flags(values, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x"])

    def main() -> None:
        raise errors.InvalidConfig("seed=-1 must be at least 0")

    with pytest.raises(SystemExit) as ended:
        command.run("trainer.x", "", values, main)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "trainer.x: --seed=-1 must be at least 0\n"


def test_a_package_that_is_installed_badly_is_told_with_a_remedy(values):
    broken = ImportError("libonnx.so: cannot open shared object file")
    code, told = command._verdict(broken, values)
    assert code == 1 and "libonnx.so" in told and told.endswith("(--debug shows which)")
    assert len(told.splitlines()) == 2 and "install it again" in told
