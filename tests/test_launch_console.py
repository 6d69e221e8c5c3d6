"""The progress line: one, when it is time, of the slowest worker."""

import pathlib
import time

import pytest

from launch.console import LINE_EVERY_SECS, Console
from launch.heartbeat import Heartbeat


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


def test_nothing_before_the_first_sign_of_progress_while_lines_come(capsys):
    now = [0.0]
    console = Console(lambda: now[0])
    for now[0] in range(100):
        if now[0] % 5 == 0:
            console.line("worker-0", "a line")
        console.progress(beats(None, None), restarts="0/3")
        console.progress([], restarts="0/3")
        console.remind("waiting")
    console.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("steps", "restarts", "text"),
    [
        ((None,), "", "preparing the data set"),
        ((None, None), "1/3", "starting · 2 workers · restarts 1/3"),
        ((4, None), "0/3", "step 0 · at None · 2 workers · restarts 0/3"),
        ((9, 9), "0/3", "step 9 · at 9 · 2 workers · restarts 0/3"),
        ((), "", "waiting"),
    ],
)
def test_the_launcher_is_not_silent_for_longer_than_its_workers(
    capsys, steps, restarts, text
):
    now, spoken = [0.0], [0.0]
    console, every = Console(lambda: now[0]), 0.1
    for tick in range(600):
        now[0] = tick * every
        console.progress(beats(*steps), restarts=restarts)
        if not steps:
            console.remind(text)
        if now[0] - spoken[-1] > every and console._wrote == now[0]:
            spoken.append(now[0])
    console.close()
    assert max(b - a for a, b in zip(spoken, spoken[1:], strict=False)) <= 5.7
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 10 and set(lines) == {f"launch.local: {text}"}


def test_lines_name_their_worker(capsys):
    console = Console(time.monotonic)
    console.line("worker-1", "loss 0.5")
    console.say("restart")
    console.close()
    captured = capsys.readouterr()
    assert captured.out == "[worker-1] loss 0.5\n"
    assert captured.err == "launch.local: restart\n"
