"""Ctrl-C in a terminal, at any moment of any command: one line, 130, nothing is left.

A trainer that has begun saves first and says so; that is its one line.
"""

import fcntl
import importlib.util
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
import tomllib

import pytest

from eval.formats.atomic_folders import HIDDEN
from tests.support import fake_studies
from tests.support.commands import ROOT, TINY, run_command
from tests.support.image_folders import write_classes
from tests.support.launch_jobs import CLUSTER, SLURM, VERTEX
from tests.support.signed_exports import write_keys
from trainer.contract import (
    EXIT_INTERRUPTED,
    TF_CONFIG,
    is_progress_line,
    shell_code,
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
PARTS = (0.15, 0.5, 0.85)  # of the time that the command takes by itself
GRACE_SECS = 40  # a trainer has 30 to save
CTRL_C = b"\x03"
LONG = [*TINY, "--train_steps=300", "--data_dir={data}"]
RUN = ["--run_dir={place}/tiny"]
COMMANDS = {
    "trainer.main": [*LONG, "--run_dir={place}/run"],
    "trainer.prepare": ["--dataset=digits", "--data_dir={place}/data"],
    "trainer.recheck": ["--run_dir={place}/trained"],
    "eval.report": [*RUN, "--data_dir={data}"],
    "eval.compare": ["{place}/tiny", "{place}/tiny", "--out_dir={place}/out"],
    "eval.predict": [*RUN, "{place}/photos"],
    "eval.data": ["--image_dir={place}/photos", "--out_dir={place}/out"],
    "eval.study": ["{place}/study"],
    "export.saved_model": RUN,
    "export.tflite": RUN,
    "export.onnx": RUN,
    "export.micro": [*RUN, "--runtime=standalone"],
    "export.web": RUN,
    "export.bench": RUN,
    "export.sign": ["--private_key={place}/owner.pem", *RUN],
    "export.verify": ["--public_key={place}/owner.pub", *RUN],
    "launch.local": ["--workers=2", "--", *LONG, "--run_dir={place}/run"],
    "launch.worker": ["--", *LONG, "--run_dir={place}/run"],
    "launch.slurm": SLURM[1:],
    "launch.kubernetes": CLUSTER[1:],
    "launch.vertex": VERTEX[1:],
    "launch.sweep": [
        "--study_dir={place}/sweep",
        "--try=learning_rate=0.001,0.01",
        "--",
        *LONG,
    ],
}
NEEDS = {"export.web": "npm"}  # a program
CLUSTER_OF_ONE = {
    "cluster": {"worker": ["localhost:29123"]},
    "task": {"type": "worker", "index": 0},
}
MANY_LINES = ("launch.local", "launch.sweep")  # those of each process, and a summary
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\^C")


def test_every_command_is_here():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {value.partition(":")[0] for value in scripts.values()} == COMMANDS.keys()


def make_place(folder: pathlib.Path, template: pathlib.Path) -> pathlib.Path:
    """What commands work on: a run of random weights, photographs, a study, keys."""
    folder.mkdir()
    shutil.copytree(template, folder / "tiny")
    write_classes(folder / "photos", {"cat": 40, "dog": 40}, (32, 32))
    fake_studies.write(folder / "study")
    write_keys(folder, "owner")
    return folder


@pytest.fixture(scope="module")
def exported(template, tmp_path_factory) -> pathlib.Path:
    """The place with an exported and signed file."""
    place = make_place(tmp_path_factory.mktemp("signed") / "place", template)
    run_command("export.tflite", f"--run_dir={place / 'tiny'}", check=True)
    words = [f"--private_key={place / 'owner.pem'}", f"--run_dir={place / 'tiny'}"]
    run_command("export.sign", *words, check=True)
    return place


class Typed:
    """`python -m words` in a terminal of its own."""

    def __init__(self, name: str, words: list[str]) -> None:
        self._mine, its = pty.openpty()
        extra = {}
        if name == "launch.worker":
            extra = {TF_CONFIG: json.dumps(CLUSTER_OF_ONE)}
        self.start = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", name, *words],
            cwd=ROOT, stdin=its, stdout=its, stderr=its, env=os.environ | extra,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(its)

    def interrupt(self) -> None:
        """Types Ctrl-C."""
        os.write(self._mine, CTRL_C)

    def finish(self, limit: float) -> tuple[int, list[str], float]:
        """The exit code, the lines that stay, and the seconds since the start."""
        said, end = b"", time.monotonic() + limit
        try:
            while chunk := os.read(self._mine, 1 << 16):
                said += chunk
                assert time.monotonic() < end, said.decode()[-2000:]
        except OSError:  # nobody writes to it any more
            pass
        code = self.process.wait(max(1, end - time.monotonic()))
        secs = time.monotonic() - self.start
        os.close(self._mine)
        return code, lasting(said.decode()), secs

    def survivors(self) -> list[str]:
        """Processes of the session that are alive a moment later."""
        limit = time.monotonic() + 5
        while (alive := members(self.process.pid)) and time.monotonic() < limit:
            time.sleep(0.05)
        return alive


def lasting(text: str) -> list[str]:
    """Lines of a terminal's text without those that were drawn over or are progress."""
    drawn = [line.rstrip("\r").split("\r")[-1] for line in text.split("\n")]
    plain = [ESCAPES.sub("", line).strip() for line in drawn]
    return [line for line in plain if line and not is_progress_line(line)]


def members(session: int) -> list[str]:
    """Command lines of the processes of a session, without zombies."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            words = (path / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(words)
    return found


def needs_exports(name: str) -> bool:
    return name in ("export.sign", "export.verify", "export.bench")


@pytest.mark.parametrize("name", COMMANDS)
def test_one_line_and_nothing_is_left(
    name, template, single_run, exported, data_dir, tmp_path
):
    if (program := NEEDS.get(name)) and not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    if name == "export.onnx" and importlib.util.find_spec("tf2onnx") is None:
        pytest.skip("tf2onnx is not installed")
    secs, taken = None, 0
    for number, part in enumerate((None, *PARTS)):
        place = tmp_path / str(number)
        if needs_exports(name):
            shutil.copytree(exported, place)
        else:
            make_place(place, template)
        if name == "trainer.recheck":
            shutil.copytree(single_run, place / "trained")
        words = [word.format(place=place, data=data_dir) for word in COMMANDS[name]]
        typed = Typed(name, words)
        if part is None:
            code, lines, secs = typed.finish(300)
            assert code == 0, lines
            continue
        time.sleep(part * secs)
        typed.interrupt()
        code, lines, _ = typed.finish(GRACE_SECS)
        assert typed.survivors() == []
        assert not [path for path in place.rglob(f"{HIDDEN}*") if path.is_dir()], lines
        assert "Traceback" not in "\n".join(lines)
        if code == 0:  # it had ended
            continue
        taken += 1
        assert shell_code(code) == EXIT_INTERRUPTED, lines
        stopped = [line for line in lines if signal.SIGINT.name in line]
        assert stopped
        if name not in MANY_LINES:
            assert len(stopped) == 1 and lines[-1] == stopped[0], lines
    print(f"\n{name}: {secs:.1f} s, {taken} of {len(PARTS)} were interrupted")
    assert taken >= 2
