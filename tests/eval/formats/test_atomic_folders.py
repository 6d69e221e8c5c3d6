"""A folder gives way to another at once; a kill leaves the one or the other."""

import errno
import os
import signal
import subprocess
import sys
import tempfile

import pytest

from eval.formats import atomic_folders
from tests.support.commands import ROOT
from trainer.errors import TrainingFailed

# Writes a folder of ten files that all hold its number, again and again.
WRITER = """
import pathlib, sys
from eval.formats import atomic_folders as folders
final = pathlib.Path(sys.argv[1]) / "made"
for number in range(10**6):
    with folders.staging_folder(final.parent, "the folder") as hidden:
        made = hidden / "made"
        made.mkdir()
        for n in range(10):
            (made / str(n)).write_text(str(number))
        folders.replace(made, final)
    print(number, flush=True)
"""


def write(parent, text: str) -> None:
    with atomic_folders.staging_folder(parent, "the folder") as hidden:
        made = hidden / "made"
        made.mkdir()
        (made / "file").write_text(text)
        atomic_folders.replace(made, parent / "made")


@pytest.mark.parametrize("exchanged", [True, False])
def test_one_folder_replaces_another(tmp_path, monkeypatch, exchanged):
    def cannot(*_):
        raise OSError("no such call")

    if not exchanged:
        monkeypatch.setattr(atomic_folders, "_exchange", cannot)
    for text in ("first", "second"):
        write(tmp_path, text)
        assert [p.name for p in tmp_path.iterdir()] == ["made"]
        assert (tmp_path / "made" / "file").read_text() == text


def test_where_folders_cannot_be_renamed_the_last_file_is_last(tmp_path, monkeypatch):
    def cannot(source, target):
        raise OSError(errno.EOPNOTSUPP, "no such operation")

    monkeypatch.setattr(os, "rename", cannot)
    monkeypatch.setattr(atomic_folders, "_exchange", cannot)
    for text in ("first", "second"):
        with atomic_folders.staging_folder(tmp_path, "the folder") as hidden:
            made = hidden / "made"
            (made / "figures").mkdir(parents=True)
            for name in ("report.json", "page", f"figures/{text}"):
                (made / name).write_text(text)
            atomic_folders.replace(made, tmp_path / "made", seal="report.json")
        found = {p.name: p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
        assert found == {"report.json": text, "page": text, text: text}
    with pytest.raises(TrainingFailed, match="could not be written"):
        write(tmp_path, "an export has no such file")
    assert (tmp_path / "made" / "page").read_text() == "second"


@pytest.mark.parametrize("content", [(), ("lock",), ("made",)])
def test_a_folder_that_a_killed_process_left_is_removed(tmp_path, content):
    left = tmp_path / ".writing-killed"
    left.mkdir()
    for name in content:
        (left / name).write_text("")
    write(tmp_path, "next")
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


def test_a_folder_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path, monkeypatch
):
    real, removed = tempfile.mkdtemp, []

    def mkdtemp(**words):
        made = real(**words)
        if not removed:
            removed.append(made)
            os.rmdir(made)
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    write(tmp_path, "text")
    assert removed and [p.name for p in tmp_path.iterdir()] == ["made"]


@pytest.mark.faults
def test_a_kill_leaves_one_whole_folder(tmp_path):
    for kill in range(20):
        words = [sys.executable, "-c", WRITER, tmp_path]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as writer:
            for _ in range(3 + kill):
                writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)
        texts = [p.read_text() for p in (tmp_path / "made").iterdir()]
        assert len(texts) == 10 and len(set(texts)) == 1
    write(tmp_path, "last")
    assert [p.name for p in tmp_path.iterdir()] == ["made"]
