"""Checkpoints: whole or absent, verified before use, never a wrong load."""

import json
import os
import random
import shutil
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from tests.support import forged_files
from tests.support.damage import DAMAGES, flip_a_bit
from trainer import system
from trainer.config.schema import Config, DataConfig
from trainer.errors import CorruptCheckpoint, InvalidInput
from trainer.rundir import checkpoints, weights

ARRAYS = {
    "model/a/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "optimizer/iterations": np.array(7, np.int64),
}


def write(directory, step: int):
    return checkpoints.save(directory, ARRAYS, {"step": step, "colour": "blue"})


def newest(directory):
    said = []
    return checkpoints.load_latest(directory, skipped=said.append), said


def test_what_was_written_is_read(tmp_path):
    found = checkpoints.load(write(tmp_path, 5))
    assert found.step == 5
    assert found.facts["colour"] == "blue"
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000005"]


def test_what_an_earlier_release_did_not_record_is_no_difference(tmp_path):
    """Its whole sibling resumes such a run: tests/laws/test_image_files.py."""
    data = {"sha256": {"train": "ab"}, "pixels_sha256": {"train": "cd"}}
    data["preprocessing"] = {"resize": "crop"}
    config = Config(data=DataConfig(image_size=(20, 16))).to_json()
    older = {"config": json.loads(json.dumps(config)), "data": dict(data)}
    del older["config"]["data"]["test_fraction"]
    del older["data"]["pixels_sha256"], older["data"]["preprocessing"]
    path = checkpoints.save(tmp_path, ARRAYS, {"step": 5, **older})
    assert checkpoints.load(path, expected={"config": config, "data": data}).step == 5
    others = {
        "config": Config(data=DataConfig(test_fraction=0.2)).to_json(),
        "data": data | {"sha256": {"train": "ff"}},
    }
    for name, other in others.items():
        with pytest.raises(CorruptCheckpoint, match=f"{name} differs"):
            checkpoints.load(path, expected={name: other})
    skipped = data | {"skipped": {"files": 1}}
    with pytest.raises(CorruptCheckpoint, match="data differs"):
        checkpoints.load(path, expected={"data": skipped})


def test_an_unwritable_folder_leaves_nothing_behind(tmp_path, monkeypatch):
    write(tmp_path, 1)
    before = sorted(p.name for p in tmp_path.rglob("*"))

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


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
    with pytest.raises(CorruptCheckpoint):
        checkpoints.load(path)


def test_a_renamed_or_swapped_checkpoint_is_damage(tmp_path):
    one, two = write(tmp_path, 1), write(tmp_path / "other", 2)
    shutil.move(one, tmp_path / "step-00000009")
    with pytest.raises(CorruptCheckpoint, match="name"):
        checkpoints.load(tmp_path / "step-00000009")
    other = {"model/b/kernel": np.zeros(3, np.float32)}
    foreign = checkpoints.save(tmp_path / "third", other, {"step": 2})
    shutil.copy(foreign / checkpoints.VARIABLES, two / checkpoints.VARIABLES)
    with pytest.raises(CorruptCheckpoint):
        checkpoints.load(two)


def test_an_edited_manifest_is_damage_even_as_valid_json(tmp_path):
    path = write(tmp_path, 4)
    manifest = json.loads((path / checkpoints.MANIFEST).read_text())
    manifest["colour"] = "red"
    (path / checkpoints.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptCheckpoint, match="altered"):
        checkpoints.load(path)


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
    checkpoints.remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]
    assert checkpoints.load(kept).step == 3


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
    checkpoints.remove_partial(kept.parent)
    checkpoints.remove(odd[0])
    assert list(kept.parent.iterdir()) == [kept]
    assert other.is_dir()


def test_one_of_other_facts_is_damage(tmp_path):
    path = write(tmp_path, 3)
    assert checkpoints.load(path, expected={"colour": "blue"}).step == 3
    with pytest.raises(CorruptCheckpoint, match="another run: colour differs"):
        checkpoints.load(path, expected={"colour": "red"})


def compressed_zeros(content):
    zeros = forged_files.header("(64000000,)") + bytes(256_000_000)
    return forged_files.member(content, "model/x.npy", zeros, zipfile.ZIP_DEFLATED)


def stored(name, data):
    return lambda content: forged_files.member(content, name, data, zipfile.ZIP_STORED)


def twice_in_the_directory(content):
    """Two members that share the bytes of one, as bombs of stored data do."""
    end = content.rindex(b"PK\5\6")
    start = int.from_bytes(content[end + 16 : end + 20], "little")
    entry = content[start:end].replace(b"model/a/kernel.npy", b"model/b/kernel.npy")
    both = content[:end] + entry + content[end:]
    at = end + len(entry)
    sizes = struct.pack("<HHI", 4, 4, 2 * (end - start))
    return both[: at + 8] + sizes + both[at + 16 :]


FORGED = {
    "compressed": (compressed_zeros, "compressed"),
    "too large a shape": (
        stored("x.npy", forged_files.header(f"({10**15},)")),
        "needs",
    ),
    "a negative shape": (
        stored("x.npy", forged_files.header("(-4, -1)")),
        "not supported",
    ),
    "an endless shape": (
        stored("x.npy", forged_files.header("(0, " + "9" * 40 + ")")),
        ".",
    ),
    "objects": (
        stored("x.npy", forged_files.header("(1,)", "|O") + bytes(8)),
        "not supported",
    ),
    "text": (
        stored("x.npy", forged_files.header("(1,)", "<U2") + bytes(8)),
        "not supported",
    ),
    "no array": (stored("x.txt", b"hello"), "not an array"),
    "no header": (stored("x.npy", b"hello"), "."),
    "a nested header": (
        stored("x.npy", forged_files.header("(" * 99 + "," + ")" * 99)),
        ".",
    ),
    "no zip": (lambda content: b"PK" * 99, "not an archive"),
    "nothing": (lambda content: b"", "not an archive"),
    "twice": (
        twice_in_the_directory,
        "two arrays|the file|overlap|do not fit|Overlapped",
    ),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_archive_is_damage_and_takes_no_memory(tmp_path, what):
    change, reason = FORGED[what]
    path = write(tmp_path, 2)
    content = change((path / checkpoints.VARIABLES).read_bytes())
    forged_files.reseal(path, content)
    tracemalloc.start()
    with pytest.raises(CorruptCheckpoint, match=reason) as caught:
        checkpoints.load(path)
    assert tracemalloc.get_traced_memory()[1] < 10 * len(content) + 2**20
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


WEIGHTS = {"model/a": np.float32([1, 2, 3]), "ema/a": np.float32([1, 2, 4])}


@pytest.mark.parametrize("claim", ["weights_sha256", "raw_weights_sha256"])
@pytest.mark.parametrize("edited", ["claim", "model/a", "ema/a"])
def test_edited_weights_are_found_and_both_hashes_named(tmp_path, claim, edited):
    own = {
        "weights_sha256": weights.weights_sha256(weights.eval_weights(WEIGHTS)),
        "raw_weights_sha256": weights.weights_sha256(weights.raw_weights(WEIGHTS)),
    }
    path = checkpoints.save(tmp_path, WEIGHTS, {"step": 1, claim: own[claim]})
    assert checkpoints.load(path).weights_sha256 == own["weights_sha256"]
    if edited == "claim":
        forged_files.reseal(path, **{claim: "ab" * 32})
    else:
        changed = WEIGHTS | {edited: np.float32([1, 2, 5])}
        forged_files.reseal(path, forged_files.packed(changed))
    if (claim, edited) in {
        ("weights_sha256", "model/a"),
        ("raw_weights_sha256", "ema/a"),
    }:
        assert checkpoints.load(path).arrays  # of the other hash
        return
    named = "abababababab" if edited == "claim" else own[claim][:12]
    with pytest.raises(
        CorruptCheckpoint, match=f"says {claim} {named}, .* holds [0-9a-f]{{12}}"
    ):
        checkpoints.load(path)


def test_one_larger_than_the_free_memory_is_no_damage(tmp_path, monkeypatch):
    write(tmp_path, 1)
    monkeypatch.setattr(system, "free_bytes", lambda: 1000)
    with pytest.raises(InvalidInput, match=r"bytes of memory, 1,000 are free"):
        newest(tmp_path)


@pytest.mark.parametrize("size", [0, 5, 1 << 40])
def test_variables_of_another_size_are_not_read(tmp_path, size):
    path = write(tmp_path, 1)
    os.truncate(path / checkpoints.VARIABLES, size)
    with pytest.raises(CorruptCheckpoint, match=f"has {size} of "):
        checkpoints.load(path)


@pytest.mark.parametrize("step", [1.0, True, "1", None])
def test_a_step_is_a_whole_number(tmp_path, step):
    path = write(tmp_path, 1)
    forged_files.reseal(path, step=step)
    with pytest.raises(CorruptCheckpoint, match="step"):
        checkpoints.load(path)
