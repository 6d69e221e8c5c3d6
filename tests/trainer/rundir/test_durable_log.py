"""Records that a full disk delays are neither lost nor torn."""

import os
import resource
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from trainer.monitoring import tensorboard
from trainer.rundir.durable_log import DurableLog


def test_records_follow_what_is_there(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one\n")
    journal = DurableLog(path, print)
    assert not journal.empty
    journal.add(b"two\n")
    journal.sync()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_full_disk_is_said_once_and_caught_up_with(tmp_path, monkeypatch):
    path, said = tmp_path / "a", []
    journal = DurableLog(path, said.append)
    journal.add(b"one\n")
    room, write = [2], os.write

    def full(file, content):
        if not room[0]:
            raise OSError(28, "No space left on device")
        part = content[: room[0]]
        room[0] -= len(part)
        return write(file, part)

    monkeypatch.setattr(os, "write", full)
    journal.add(b"two\n")
    journal.add(b"three\n")
    assert path.read_bytes() == b"one\n", "half a record stayed"
    assert len(said) == 1
    assert "No space left" in said[0]
    with pytest.raises(OSError, match="No space"):
        journal.sync()
    monkeypatch.setattr(os, "write", write)
    journal.add(b"four\n")
    journal.sync()
    assert path.read_bytes() == b"one\ntwo\nthree\nfour\n"


LIMITED = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, {resource.RLIM_INFINITY}))
import pathlib
from trainer.rundir.durable_log import DurableLog
journal = DurableLog(pathlib.Path(sys.argv[1]), print)
for n in range(4):
    journal.add(b"%d....\\n" % n)
print(pathlib.Path(sys.argv[1]).read_bytes())
resource.setrlimit(resource.RLIMIT_FSIZE, ({resource.RLIM_INFINITY},) * 2)
journal.sync()
"""


def test_a_real_limit_of_the_file_system(tmp_path):
    path = tmp_path / "a"
    words = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "b'0....\\n'" in done.stdout
    assert path.read_bytes() == b"0....\n1....\n2....\n3....\n"


def test_events_are_read_by_tensorboard_and_cut_after_a_step(tmp_path):
    import numpy as np
    from tensorboard.backend.event_processing import event_accumulator

    for attempt in (1, 2):
        written = tensorboard.TensorBoardWriter(tmp_path, attempt, print)
        for step in (1, 2, 3):
            written.scalars(3 * (attempt - 1) + step, {"train/loss": step / 4})
        written.picture(attempt, "p", np.zeros((2, 3, 3), np.uint8))
        written.scalars(6, {"test/accuracy": 1.0})
        written.sync()
        tensorboard.truncate_after(tmp_path, 3 * attempt)
    read = event_accumulator.EventAccumulator(
        str(tmp_path), size_guidance={"tensors": 0}
    ).Reload()
    assert [e.step for e in read.Tensors("train/loss")] == [1, 2, 3, 4, 5, 6]
    assert sorted(read.Tags()["tensors"]) == ["p", "train/loss"]
    assert len(list(tmp_path.iterdir())) == 2
