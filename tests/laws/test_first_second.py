"""Within a second a command says what it does; it is never silent, and ends at once.

Limits are relative to the time that importing TensorFlow takes, which on a machine that
is busy is many times that of an idle one.
"""

import os
import pathlib
import pty
import signal
import subprocess
import sys
import time

import pytest

from tests.support.commands import PROGRESS, ROOT, TINY

FIRST_PART, SILENT_PART, LAST_PART = 0.35, 1.5, 0.35  # of the import of TensorFlow
FIRST_SECS, SILENT_SECS, LAST_SECS = 1.0, 6.0, 1.0
LOADING = "loading TensorFlow"


@pytest.fixture(scope="module")
def import_secs() -> float:
    """Seconds that importing TensorFlow takes now."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import tensorflow, keras"], check=True)
    return time.monotonic() - start


def outputs(*words: str, terminal: bool) -> tuple[list[float], str]:
    """When `python -m words` began, wrote and ended; and its text."""
    start = time.monotonic()
    reader, writer = pty.openpty() if terminal else os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, stdout=writer, stderr=writer
    ) as process:
        os.close(writer)
        seen, text = [start], b""
        while chunk := read(reader):
            seen.append(time.monotonic())
            text += chunk
        process.wait()
    os.close(reader)
    assert process.returncode == 0, text.decode()
    return [*seen, time.monotonic()], text.decode()


def read(reader: int) -> bytes:
    try:
        return os.read(reader, 1 << 16)
    except OSError:  # a terminal that nobody writes to any more
        return b""


COMMANDS = {
    "trainer.main": [*TINY, "--data_dir={data}", "--run_dir={out}/run"],
    "trainer.prepare": ["--dataset=digits", "--data_dir={data}"],
    "trainer.recheck": ["--run_dir={run}"],
    "eval.report": ["--run_dir={run}", "--out_dir={out}/report"],
    "eval.compare": ["{run}", "{run}", "--out_dir={out}/comparison"],
    "eval.data": ["--run_dir={run}", "--out_dir={out}/inspection"],
    "export.tflite": ["--run_dir={run}"],
    "export.saved_model": ["--run_dir={run}"],
}


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("name", [name for name in COMMANDS if "recheck" not in name])
def test_a_command_speaks_at_once_goes_on_and_ends(
    name, terminal, run, data_dir, tmp_path, import_secs
):
    names = {"run": run, "data": data_dir, "out": tmp_path}
    words = [word.format(**names) for word in COMMANDS[name]]
    seen, text = outputs(name, *words, terminal=terminal)
    first, *between, last = [b - a for a, b in zip(seen, seen[1:], strict=False)]
    assert first < max(FIRST_SECS, FIRST_PART * import_secs), text
    assert max(between) < max(SILENT_SECS, SILENT_PART * import_secs), text
    assert last < max(LAST_SECS, LAST_PART * import_secs), text
    assert LOADING in text


def interrupt_at(library: str, *words: str) -> tuple[int, str]:
    """Sends SIGINT as soon as `library` is mapped; the exit code and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    maps, limit = pathlib.Path(f"/proc/{process.pid}/maps"), time.monotonic() + 120
    while library not in maps.read_text():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    return process.returncode, said


@pytest.mark.parametrize("name", ["trainer.main", "eval.report", "export.tflite"])
def test_ctrl_c_while_a_command_itself_is_imported(name):
    code, said = interrupt_at("_multiarray_umath", name, "--help")
    assert (code, said) == (130, f"{name}: stopped by SIGINT\n")


@pytest.mark.parametrize(
    "name", ["trainer.main", pytest.param("eval.report", marks=pytest.mark.slow)]
)
def test_ctrl_c_while_tensorflow_is_imported(name, run, data_dir):
    words = {
        "trainer.main": [*TINY, f"--data_dir={data_dir}", "--dry_run"],
        "eval.report": [f"--run_dir={run}"],
    }
    code, said = interrupt_at("libtensorflow", name, *words[name])
    assert code == 130 and LOADING in said
    assert PROGRESS.sub("", said) == (
        f"{name}: stopped by SIGINT while TensorFlow was loading; nothing to save\n"
    )
