"""Nothing is silent for more than five seconds: on a terminal, in a pipe, hidden."""

import io
import time

import pytest

from trainer import contract
from trainer.monitoring import bars, native_output, progress
from trainer.monitoring.progress import CONSOLE, Progress


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.secs = 100.0

    def __call__(self) -> float:
        return self.secs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_phase_is_named_every_five_seconds():
    now, out = Time(), io.StringIO()
    shown = Progress(now, out)
    with shown.phase("reading"), shown.phase("decoding"):
        shown.say("a line")
        for _ in range(24):
            now.secs += 0.5
            shown.remind()
    assert out.getvalue().splitlines() == [
        "a line", "decoding (0:05 so far)", "decoding (0:10 so far)",
    ]  # fmt: skip


def test_lines_of_progress_are_known_to_who_shows_many_workers():
    now, out = Time(), io.StringIO()
    shown = Progress(now, out)
    with shown.count(4, "reading", "examples") as tick:
        for _ in range(4):
            now.secs += 3700
            shown.remind()
            tick(1)
    lines = out.getvalue().splitlines()
    assert len(lines) == 5 and all(map(contract.is_progress_line, lines))
    shown.say("resumed after step 7; the ETA was 3 h so far")
    assert not contract.is_progress_line(out.getvalue().splitlines()[-1])


def test_who_writes_is_not_reminded():
    now, out = Time(), io.StringIO()
    shown = Progress(now, out)
    with shown.phase("training"):
        for step in range(10):
            now.secs += 4
            shown.say(f"step {step}")
            shown.remind()
    assert len(out.getvalue().splitlines()) == 10
    now.secs += 60
    shown.remind()  # nothing is being done
    assert len(out.getvalue().splitlines()) == 10


def test_a_command_that_waits_for_its_user_says_so_once():
    now, out = Time(), io.StringIO()
    shown = Progress(now, out)
    with shown.phase("export.web is working"):
        with shown.paused():
            now.secs += 60
            shown.remind()
        assert out.getvalue() == ""
        shown.remind()
    assert out.getvalue() == "export.web is working (1:00 so far)\n"


@pytest.mark.parametrize("secs", [0.01, 1.0, 30.0])
def test_counted_images_have_an_eta_in_a_pipe(secs):
    now, out, seen = Time(), io.StringIO(), []
    shown = Progress(now, out)
    start = now.secs
    with shown.count(20 * 500, "test") as tick:
        for _ in range(20):
            for _ in range(10):
                now.secs += secs / 10
                shown.remind()
                seen.append((now.secs, len(out.getvalue())))
            tick(500)
    lines = out.getvalue().splitlines()
    assert "\r" not in out.getvalue()
    if 20 * secs < 5:
        assert lines == []
        return
    assert all(line.startswith("test") for line in lines)
    assert lines[-1].startswith("test: 10,000 of 10,000 images  ETA 0:00")
    changes = [start] + [at for (at, a), (_, b) in zip(seen, seen[1:], strict=False)
                         if a != b]  # fmt: skip
    longest = max(b - a for a, b in zip(changes, changes[1:], strict=False))
    assert longest <= 5 + max(secs / 10, 1)
    middle = next(line for line in lines if "5,000 of" in line)
    assert f"ETA {progress.duration(10 * secs)}" in middle


def test_a_terminal_has_one_live_line():
    now, out = Time(), Terminal()
    shown = Progress(now, out)
    with shown.count(1000, "test") as tick:
        for _ in range(1000):
            now.secs += 0.01
            tick(1)
    text = out.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert 90 < text.count("\r") < 110
    with shown.phase("drawing"):
        now.secs += 6
        shown.remind()
    assert out.getvalue().endswith("\r\x1b[K")  # it is gone with its phase
    assert "drawing (0:06 so far)" in out.getvalue()


def test_hidden_lines_do_not_hide_progress(monkeypatch, capfd):
    monkeypatch.setattr(progress, "EVERY_SECS", 0.05)
    monkeypatch.setattr(progress, "LOOK_SECS", 0.01)
    seen, limit = "", time.monotonic() + 20
    with (
        CONSOLE.watched("a test"),
        native_output.suppress_native_stderr("loading a library"),
    ):
        while "loading a library (" not in seen and time.monotonic() < limit:
            seen += capfd.readouterr().err
    assert "loading a library (" in seen


@pytest.mark.parametrize(
    ("total", "done", "line"),
    [
        (300, 100, "Dl Size: 100 of 300 MiB  ETA 0:20  10 MiB/s"),
        (300, 300, "Dl Size: 300 of 300 MiB  ETA 0:00  30 MiB/s"),
        (300, 0, "Dl Size: 0 MiB  0 MiB/s (0:10 so far)"),
        (None, 2500, "Dl Size: 2,500 MiB  250 MiB/s (0:10 so far)"),
    ],
)
def test_what_tfds_counts_has_an_eta_where_it_knows_a_total(total, done, line):
    bar = bars._Bar(total=total, desc="Dl Size...", unit=" MiB")
    bar.n = done
    assert bar._line(10.0) == line
    assert contract.is_progress_line(line)


def test_a_phase_ends_with_an_error():
    shown = Progress(Time(), io.StringIO())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), shown.watched("x"), shown.phase("y"):
            1 / 0  # noqa: B018
    assert shown._phases == []


@pytest.mark.parametrize("out", [io.StringIO, Terminal])
@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nb", "a\u202eb", "a\rb", "a\udc80b"])
def test_names_of_others_do_not_move_the_cursor(out, name):
    now, out = Time(), out()
    shown = Progress(now, out)
    with shown.count(4, name) as tick, shown.phase(name):
        for _ in range(4):
            now.secs += 6
            tick(1)
            shown.remind()
            shown.update(name, last=True)
    written = out.getvalue().replace("\r", "").replace("\x1b[K", "")
    assert "a\\" in written
    assert all(line.startswith("a\\") for line in written.splitlines())
    assert all(char.isprintable() for char in written.replace("\n", ""))


def test_a_terminal_shows_the_phase_at_once_and_other_text_stands_alone():
    now, out = Time(), Terminal()
    shown = Progress(now, out)
    with shown.watched("x"):
        with shown.phase("loading"):
            assert out.getvalue().endswith("\rloading\x1b[K")
            with shown.phase("opening"):
                assert out.getvalue().endswith("\ropening\x1b[K")
            assert out.getvalue().endswith("\rloading\x1b[K")
            shown.make_room()  # somebody else writes
            assert out.getvalue().endswith("\r\x1b[K")
            shown.say("a line")
            assert out.getvalue().endswith("a line\n\rloading\x1b[K")
            shown.update("step 1")
            with shown.phase("training"):  # does not hide the step
                assert out.getvalue().endswith("\rstep 1\x1b[K")
        assert out.getvalue().endswith("\rstep 1\x1b[K")


def test_a_command_says_in_a_pipe_what_it_loads_and_a_script_does_not():
    now, out = Time(), io.StringIO()
    shown = Progress(now, out)
    with shown.phase("loading", announced=True):
        assert out.getvalue() == ""
    with shown.watched("x"), shown.phase("loading", announced=True):
        assert out.getvalue() == "loading\n"


def test_the_first_line_comes_soon_and_the_others_after_five_seconds():
    now, out = Time(), io.StringIO()
    shown = Progress(now, out)
    with shown.watched("x"), shown.phase("listing"):
        for _ in range(20):
            now.secs += 0.5
            shown.remind()
    assert out.getvalue().splitlines() == [
        "listing (0:00 so far)", "listing (0:06 so far)",
    ]  # fmt: skip
