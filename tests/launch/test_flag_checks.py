"""What a study asks of the trainer before anything exists."""

import subprocess
import sys
import time

import psutil
import pytest

from launch import flag_checks
from tests.support.commands import ROOT

KILLED = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]


def test_a_check_that_is_killed_is_said_and_has_the_code_of_a_shell(capsys):
    assert flag_checks.try_step([], KILLED, print) == 137
    said = capsys.readouterr().err
    assert "ended by SIGKILL" in said and "give the command again" in said
    assert len(said.splitlines()) == 2


def sleepers(parent: int) -> list[psutil.Process]:
    found = psutil.Process(parent).children()
    return [child for child in found if "time.sleep(60)" in " ".join(child.cmdline())]


@pytest.mark.parametrize("check", ["try_step", "prepare_data"])
def test_a_check_ends_with_the_process_that_asked_for_it(check):
    """Also with one that gets SIGKILL: a step of a trial went on without its study."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    asks = f"from launch import flag_checks; flag_checks.{check}([], {sleeper}, print)"
    with subprocess.Popen([sys.executable, "-c", asks], cwd=ROOT) as parent:
        deadline = time.monotonic() + 30
        while not (children := sleepers(parent.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        parent.kill()
    assert psutil.wait_procs(children, 5)[1] == []
