"""Decoded splits of a large TFDS data set are kept: the same bits, no decoding."""

import os
import pathlib

import numpy as np
import pytest

from tests.support.tfds_sets import pixels, prepare
from trainer.data import loading
from trainer.data.sources import tfds_source
from trainer.data.store import folders, kept_splits


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small data set that counts as a large one."""
    monkeypatch.setattr(tfds_source, "LEAST_EXAMPLES", 5)
    prepare(
        tmp_path / "data", "kept", pixels(9, 8, 8, 3), [0, 1, 2] * 3, shape=(8, 8, 3)
    )
    return str(tmp_path / "data")


def load(data_dir):
    told = []
    return loading.from_tfds("kept", data_dir, say=told.append), told


def test_the_second_start_decodes_nothing(small, monkeypatch):
    first, _ = load(small)
    assert isinstance(first.train.images, np.memmap)
    decoded = tfds_source.load_split(tfds_source.locate("kept", small), "train")
    assert first.train.sha256 == decoded.sha256
    assert first.train.ids == decoded.ids
    monkeypatch.setattr(tfds_source, "load_split", None)
    again, _ = load(small)
    np.testing.assert_array_equal(again.train.images, decoded.images)
    assert again.test.split == first.test.split == "test"
    assert again.name == "kept/1.0.0"
    (store,) = folders.all_stores(small)
    assert store.parent == pathlib.Path(small) / "stores"


def test_a_run_that_is_not_tested_decodes_and_keeps_the_training_split_alone(small):
    (record,) = pathlib.Path(small).glob("kept/1.0.0/*test*")
    content = record.read_bytes()
    record.write_bytes(b"cannot be read")
    sealed = loading.from_tfds("kept", small, test=False)
    assert sealed.test is None
    assert isinstance(sealed.train.images, np.memmap)
    (store,) = folders.all_stores(small)
    assert "-train-" in store.name
    with pytest.raises(ValueError, match="cannot be read"):
        load(small)
    record.write_bytes(content)
    whole, _ = load(small)
    assert whole.train.sha256 == sealed.train.sha256
    assert loading.from_tfds("kept", small, test=False).train.sha256 == (
        whole.train.sha256
    )


def test_a_changed_file_is_decoded_again(small):
    load(small)
    (record,) = pathlib.Path(small).glob("kept/1.0.0/*train*")
    content = bytearray(record.read_bytes())
    content[len(content) // 2] ^= 1
    record.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        load(small)
    assert not list(pathlib.Path(small, "stores").glob("*.partial"))


def test_without_permission_or_room_it_stays_in_memory(small, monkeypatch):
    monkeypatch.setattr(
        kept_splits.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1})
    )
    splits, _ = load(small)
    assert not isinstance(splits.train.images, np.memmap)
    monkeypatch.setattr(os, "access", lambda *_: False)
    splits, _ = load(small)
    assert not isinstance(splits.train.images, np.memmap)


def test_a_dry_run_keeps_nothing(small):
    loading.from_tfds("kept", small, say=lambda _: None, write=False)
    assert folders.all_stores(small) == []
