"""Answers on disk are those that were computed, or they are computed again."""

import hashlib
import json
import signal
import types

import numpy as np
import pytest

from tests.support import forged_files
from tests.support.eval_models import softmax
from trainer.distillation import soft_labels
from trainer.distillation.soft_labels import (
    MANIFEST,
    SoftLabelCache,
    prepare_soft_labels,
)
from trainer.distributed.shutdown import interruption
from trainer.errors import Interrupted

KEY = {"weights_sha256": "a" * 64, "crop_pixels": 1}
SHAPE = (3, 20, 5)
LOGITS = np.random.default_rng(0).normal(0, 8, SHAPE).astype(np.float32)


def kept(folder, views=range(SHAPE[0])) -> SoftLabelCache:
    answers = SoftLabelCache(folder, KEY, SHAPE)
    for view in views:
        answers.add(view, LOGITS[view], write=True)
    return answers


def loaded(folder, key=KEY, shape=SHAPE) -> tuple[SoftLabelCache, list[str]]:
    said: list[str] = []
    answers = SoftLabelCache(folder, key, shape)
    answers.load(damaged=said.append)
    return answers, said


def test_what_is_read_is_what_was_written_and_says_what_the_teacher_said(tmp_path):
    written = kept(tmp_path / "teacher")
    read, said = loaded(tmp_path / "teacher")
    assert (read.missing, said) == ([], [])
    np.testing.assert_array_equal(read.array(), written.array())
    assert read.sha256 == written.sha256
    np.testing.assert_allclose(softmax(read.array()), softmax(LOGITS), atol=1e-3)


def test_a_kill_loses_the_view_it_falls_into_and_no_other(tmp_path):
    kept(tmp_path, [0, 2])
    read, said = loaded(tmp_path)
    assert (read.missing, said) == ([1], [])
    (tmp_path / "view-001.npy").write_bytes(b"written, but not in the manifest")
    assert loaded(tmp_path)[0].missing == [1]


class Labeler:
    """Stands for a teacher; SIGTERM arrives in the batch after `batches`."""

    path, warning, batch = "runs/teacher", None, 6

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def logits(self, view, start):
        for first in range(start, SHAPE[1], self.batch):
            if not self.batches:
                raise interruption(signal.SIGTERM, "here")
            self.batches -= 1
            yield LOGITS[view, first : first + self.batch]


def label(folder, labeler, *, write=True) -> np.ndarray:
    quiet = types.SimpleNamespace(
        say=lambda _: None,
        heartbeat=types.SimpleNamespace(write=lambda _: None),
        progress=types.SimpleNamespace(update=lambda _, last: None),
        timer=types.SimpleNamespace(now=lambda: 0.0),
    )
    alone = types.SimpleNamespace(chief=True, workers=1)
    cache = SoftLabelCache(folder, KEY, SHAPE)
    return prepare_soft_labels(cache, lambda: labeler, alone, quiet, write=write)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


BATCHES = 3 * 4  # in all views; the last of each is short


@pytest.mark.parametrize("stops", [[n] for n in range(BATCHES)] + [[1, 0, 2, 1, 5]])
def test_a_stop_signal_loses_no_finished_batch_and_no_bit(tmp_path, stops):
    whole = label(tmp_path / "whole", Labeler(BATCHES))
    for batches in stops:
        with pytest.raises(Interrupted) as stopped:
            label(tmp_path / "cut", Labeler(batches))
        assert stopped.value.code == 143
    rest = Labeler(BATCHES - sum(stops))
    np.testing.assert_array_equal(label(tmp_path / "cut", rest), whole)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_rows_that_are_damaged_are_computed_again(tmp_path):
    whole = label(tmp_path / "whole", Labeler(BATCHES))
    with pytest.raises(Interrupted):
        label(tmp_path / "cut", Labeler(6))
    flip(tmp_path / "cut" / "view-001.rows.npy")
    np.testing.assert_array_equal(label(tmp_path / "cut", Labeler(8)), whole)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_replay_that_is_stopped_writes_nothing(tmp_path):
    with pytest.raises(Interrupted):
        label(tmp_path / "cut", Labeler(6), write=False)
    assert not (tmp_path / "cut").exists()


def test_a_signal_while_a_view_is_written_does_not_lose_it(tmp_path, monkeypatch):
    write = soft_labels.files.write_bytes

    def stopped(*_):
        monkeypatch.setattr(soft_labels.files, "write_bytes", write)
        raise interruption(signal.SIGTERM, "here")

    monkeypatch.setattr(soft_labels.files, "write_bytes", stopped)
    with pytest.raises(Interrupted):
        label(tmp_path, Labeler(BATCHES))
    label(tmp_path, Labeler(BATCHES - 4))


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("damage", [flip, cut, lambda path: path.unlink()])
def test_a_damaged_view_is_named_and_computed_again(tmp_path, damage):
    whole = kept(tmp_path).array()
    damage(tmp_path / "view-001.npy")
    read, said = loaded(tmp_path)
    assert read.missing == [1]
    assert len(said) == 1
    assert "view-001.npy is not used" in said[0]
    assert read.add(1, LOGITS[1], write=True) is False  # the same bytes again
    np.testing.assert_array_equal(loaded(tmp_path)[0].array(), whole)


def test_a_view_that_comes_out_differently_is_noticed(tmp_path):
    kept(tmp_path)
    (tmp_path / "view-001.npy").unlink()
    read, _ = loaded(tmp_path)
    assert read.add(1, LOGITS[1] * 1.5, write=False) is True
    assert not (tmp_path / "view-001.npy").exists()


def test_answers_of_another_teacher_are_not_used(tmp_path):
    kept(tmp_path)
    for key, shape in (({**KEY, "crop_pixels": 2}, SHAPE), (KEY, (4, 20, 5))):
        read, said = loaded(tmp_path, key, shape)
        assert len(read.missing) == shape[0]
        assert "another teacher" in said[0]


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', '"x"', "{}"])
def test_a_damaged_manifest_is_named(tmp_path, content):
    kept(tmp_path)
    (tmp_path / MANIFEST).write_text(content)
    read, said = loaded(tmp_path)
    assert len(read.missing) == 3
    assert len(said) == 1


def test_entries_of_a_manifest_that_are_nonsense_are_named(tmp_path):
    kept(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest["files"]["view-000.npy"] = 7
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    read, said = loaded(tmp_path)
    assert (read.missing, len(said)) == ([0], 1)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e6])
def test_answers_that_are_not_finite_are_refused(tmp_path, wrong):
    logits = LOGITS[0].copy()
    logits[3, 2] = wrong
    with pytest.raises(ValueError, match="finite"):
        kept(tmp_path).add(0, logits, write=True)
    assert loaded(tmp_path)[0].missing == []


@pytest.mark.parametrize(
    "content",
    [
        forged_files.header("(20, 5)", "<f4") + bytes(400),
        forged_files.header("(20, 5)", "|O") + bytes(800),
        forged_files.header(f"({10**15}, 5)", "<f2") + bytes(200),
        forged_files.header("(20, 5)", "<f2") + bytes(2**20),
        b"no array",
    ],
    ids=["float32", "objects", "shape", "longer", "text"],
)
def test_a_view_that_was_sealed_again_is_named(tmp_path, content):
    kept(tmp_path)
    (tmp_path / "view-001.npy").write_bytes(content)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    described = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"]["view-001.npy"] = described
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    read, said = loaded(tmp_path)
    assert (read.missing, len(said)) == ([1], 1)
    assert "view-001.npy is not used" in said[0]
