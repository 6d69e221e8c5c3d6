"""Checkpoints: whole or absent, verified before use, never a wrong load."""

import json
import os
import random
import shutil

import numpy as np
import pytest

from trainer import checkpoints
from trainer.checkpoints import Damaged

ARRAYS = {
    "model/a/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "optimizer/iterations": np.array(7, np.int64),
}


def write(directory, step: int):
    return checkpoints.write(directory, ARRAYS, {"step": step, "colour": "blue"})


def newest(directory):
    said = []
    return checkpoints.newest(directory, skipped=said.append), said


def test_what_was_written_is_read(tmp_path):
    found = checkpoints.read(write(tmp_path, 5))
    assert found.step == 5
    assert found.facts["colour"] == "blue"
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000005"]


def test_an_unwritable_folder_leaves_nothing_behind(tmp_path, monkeypatch):
    write(tmp_path, 1)
    before = sorted(p.name for p in tmp_path.rglob("*"))

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def flip_a_bit(path, generator):
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def truncate(path, generator):
    content = path.read_bytes()
    path.write_bytes(content[: generator.randrange(len(content))])


def empty(path, _generator):
    path.write_bytes(b"")


def remove(path, _generator):
    path.unlink()


def replace_by_a_folder(path, _generator):
    path.unlink()
    path.mkdir()


DAMAGES = [flip_a_bit, truncate, empty, remove, replace_by_a_folder]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("file", [checkpoints.MANIFEST, checkpoints.VARIABLES])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_skipped_with_a_reason(tmp_path, damage, file, seed):
    write(tmp_path, 1)
    damage(write(tmp_path, 2) / file, random.Random(seed))
    found, said = newest(tmp_path)
    assert found.step == 1
    assert len(said) == 1
    assert "step-00000002" in said[0]
    assert "\n" not in said[0]


@pytest.mark.parametrize(
    "content",
    [b"{}", b"[]", b"null", b"\xff\xfe", b'{"manifest_sha256": 1}', b'"x"'],
)
def test_a_foreign_manifest_is_damage(tmp_path, content):
    path = write(tmp_path, 3)
    (path / checkpoints.MANIFEST).write_bytes(content)
    with pytest.raises(Damaged):
        checkpoints.read(path)


def test_a_renamed_or_swapped_checkpoint_is_damage(tmp_path):
    one, two = write(tmp_path, 1), write(tmp_path / "other", 2)
    shutil.move(one, tmp_path / "step-00000009")
    with pytest.raises(Damaged, match="name"):
        checkpoints.read(tmp_path / "step-00000009")
    other = {"model/b/kernel": np.zeros(3, np.float32)}
    foreign = checkpoints.write(tmp_path / "third", other, {"step": 2})
    shutil.copy(foreign / checkpoints.VARIABLES, two / checkpoints.VARIABLES)
    with pytest.raises(Damaged):
        checkpoints.read(two)


def test_an_edited_manifest_is_damage_even_as_valid_json(tmp_path):
    path = write(tmp_path, 4)
    manifest = json.loads((path / checkpoints.MANIFEST).read_text())
    manifest["colour"] = "red"
    (path / checkpoints.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(Damaged, match="altered"):
        checkpoints.read(path)


def test_pruning_keeps_the_newest_and_nothing_hidden(tmp_path):
    for step in range(1, 6):
        write(tmp_path, step)
        checkpoints.prune(tmp_path, 2)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["step-00000004", "step-00000005"]


def test_what_killed_saves_left_is_swept_and_nothing_else(tmp_path):
    kept = write(tmp_path, 3)
    for name in (".step-00000004.17", ".removed.step-00000001.17"):
        (tmp_path / name).mkdir()
        (tmp_path / name / checkpoints.VARIABLES).write_bytes(b"half")
    checkpoints.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]
    assert checkpoints.read(kept).step == 3


def test_none_good_is_none(tmp_path):
    assert newest(tmp_path / "absent") == (None, [])
    path = write(tmp_path, 1)
    (path / checkpoints.VARIABLES).unlink()
    found, said = newest(tmp_path)
    assert found is None
    assert len(said) == 1


def test_a_step_beyond_eight_digits_is_still_the_newest(tmp_path):
    write(tmp_path, 99_999_999)
    write(tmp_path, 100_000_000)
    assert newest(tmp_path)[0].step == 100_000_000


def test_a_damaged_one_of_later_steps_does_not_displace_a_good_one(tmp_path):
    flip_a_bit(write(tmp_path, 9) / checkpoints.VARIABLES, random.Random(0))
    write(tmp_path, 2)
    checkpoints.prune(tmp_path, 1, last=2)
    assert newest(tmp_path)[0].step == 2
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000002"]


@pytest.mark.parametrize("kind", ["file", "link", "link to a folder"])
def test_what_is_no_folder_is_skipped_with_a_line_and_removed(tmp_path, kind):
    kept, other = write(tmp_path / "run", 1), tmp_path / "other"
    other.mkdir()
    odd = [kept.with_name(n) for n in ("step-00000040", ".removed.step-00000007.1")]
    for path in odd:
        if kind == "file":
            path.touch()
        else:
            path.symlink_to(other if kind == "link to a folder" else "nowhere")
    found, said = newest(kept.parent)
    assert found.step == 1
    assert len(said) == 1
    assert "step-00000040" in said[0]
    checkpoints.sweep(kept.parent)
    checkpoints.remove(odd[0])
    assert list(kept.parent.iterdir()) == [kept]
    assert other.is_dir()


def test_one_of_other_facts_is_damage(tmp_path):
    path = write(tmp_path, 3)
    assert checkpoints.read(path, expected={"colour": "blue"}).step == 3
    with pytest.raises(Damaged, match="another run: colour differs"):
        checkpoints.read(path, expected={"colour": "red"})
