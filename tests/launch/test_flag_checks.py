"""What a study asks of the trainer before anything exists."""

import sys

from launch import flag_checks

KILLED = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]


def test_a_check_that_is_killed_is_said_and_has_the_code_of_a_shell(capsys):
    assert flag_checks.find_refusal([], KILLED, print) == 137
    said = capsys.readouterr().err
    assert "ended by SIGKILL" in said and "give the command again" in said
    assert len(said.splitlines()) == 2
