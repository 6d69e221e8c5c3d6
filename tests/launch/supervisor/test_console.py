"""The progress line: one, when it is time, of the slowest worker."""

import pathlib
import time

from launch.supervisor.console import LINE_EVERY_SECS, Console
from launch.supervisor.heartbeat_file import Heartbeat


def beats(*steps):
    path = pathlib.Path("nowhere")
    return [Heartbeat(path, 0.0, step=step, phase=f"at {step}") for step in steps]


def test_one_line_of_the_slowest_worker_when_it_is_time(capsys):
    now = [0.0]
    console = Console(lambda: now[0])
    for now[0], steps in ((0.0, (7, 5)), (1.0, (8, 8)), (LINE_EVERY_SECS, (65, 70))):
        console.progress(beats(*steps), restarts="0/3")
    console.close()
    first, second = capsys.readouterr().err.splitlines()
    assert first == "launch.local: step 5 · at 5 · 2 workers · restarts 0/3"
    assert "step 65 · at 65 · 2.0 steps/s" in second


def test_nothing_before_the_first_sign_of_progress(capsys):
    console = Console(time.monotonic)
    console.progress(beats(None, None), restarts="0/3")
    console.progress([], restarts="0/3")
    console.close()
    assert capsys.readouterr().err == ""


def test_lines_name_their_worker(capsys):
    console = Console(time.monotonic)
    console.line("worker-1", "loss 0.5")
    console.say("restart")
    console.close()
    captured = capsys.readouterr()
    assert captured.out == "[worker-1] loss 0.5\n"
    assert captured.err == "launch.local: restart\n"
