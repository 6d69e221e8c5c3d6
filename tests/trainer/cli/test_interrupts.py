"""Ctrl-C at an odd moment of a command: one line, code 130, nothing is left."""

import subprocess
import sys

import pytest

from tests.support.commands import ROOT

# As in a command, the handler of the imports is there before the command begins.
PROGRAM = """
import atexit, signal, sys, time, trainer
from absl import flags
from trainer import contract
from trainer.cli import command
signal.signal(signal.SIGINT, trainer._end_at_once)
def press():
    signal.raise_signal(signal.SIGINT)
class Destroyed:
    def __del__(self):
        press()
class Stream:
    def __getattr__(self, name):
        return getattr(sys.__stderr__, name)
    def write(self, text):
        press()
        return sys.__stderr__.write(text)
def main():
{work}
command.run("x", "", flags.FlagValues(), main)
"""
CLEANING = """
try:
    press()
finally:
    press()
    print("removed", flush=True)
"""
LINE = "x: stopped by SIGINT\n"


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        pytest.param(CLEANING, (130, "removed\n", LINE), id="twice at once"),
        pytest.param(
            f"contract.AGAIN_SECS = 0.0{CLEANING}", (130, "", LINE), id="again later"
        ),
        pytest.param(
            "Destroyed()\ntime.sleep(9)\nprint('slept')",
            (130, "", LINE),
            id="in a destructor",
        ),
        pytest.param(
            "try:\n    press()\nexcept KeyboardInterrupt:\n    raise ValueError('odd')",
            (130, "", LINE),
            id="as another error",
        ),
        pytest.param(
            "sys.stderr = Stream()\nraise ValueError('odd')",
            (130, "", LINE),
            id="while an error is told",
        ),
        pytest.param("atexit.register(press)", (0, "", ""), id="at the end"),
    ],
)
def test_ctrl_c_at_an_odd_moment_of_a_command(work, expected):
    body = "".join(f"    {line}\n" for line in work.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(work=body)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == expected
