"""The store: what it holds, when it is made again, how it goes on after a kill."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from tests.support.image_folders import write_classes, write_image
from trainer.config.enums import Resize
from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec
from trainer.data.split import split_hashes
from trainer.data.store import folders, staging, store, store_builder, store_manifest
from trainer.data.store.request import FilesRequest
from trainer.errors import DataUnavailable, InvalidInput


@pytest.fixture
def photos(tmp_path):
    return write_classes(tmp_path / "photos", {"cat": 20, "dog": 30})


def request_for(photos, **options):
    data = photos.parent / "data"
    return FilesRequest(image_dir=str(photos), data_dir=str(data), **options)


def open_told(request, **options):
    told = []
    return store.open_store(request, say=told.append, **options), "\n".join(told)


def test_a_store_holds_what_pillow_gives(photos):
    found, told = open_told(request_for(photos))
    assert f"preparing image_dir={photos}" in told
    train, test = found.load("train"), found.load("test")
    assert isinstance(train.images, np.memmap)
    assert (len(train.labels), len(test.labels)) == (45, 5)
    assert np.bincount(test.labels).tolist() == [2, 3]
    for split in (train, test):
        for pixels, label, name in zip(
            split.images, split.labels, split.ids, strict=True
        ):
            with Image.open(photos / name) as image:
                assert (np.asarray(image) == pixels).all()
            assert split.names[label] == name.split("/")[0]
        hashes = split_hashes(split.ids, split.images, split.labels)
        assert hashes == (split.sha256, split.pixels_sha256)
    assert list(train.ids) == sorted(train.ids)
    assert not set(train.ids) & set(test.ids)
    assert found.held_out is None
    assert found.preprocessing == PixelSpec(8, 8, 3)
    assert found.name == "image_dir/photos"


def test_it_is_opened_again_and_made_again_after_a_change(photos):
    first, _ = open_told(request_for(photos))
    again, told = open_told(request_for(photos))
    assert told == ""
    assert again.manifest == first.manifest
    mapped = first.load("train").images[:1].copy()
    write_image(photos / "cat" / "new.png", 77)
    (photos / "dog" / "000.png").unlink()
    os.utime(photos / "dog" / "001.png", ns=(5, 5))
    made, told = open_told(request_for(photos))
    assert "1 added (cat/new.png)" in told
    assert "1 removed (dog/000.png)" in told
    assert "1 replaced (dog/001.png)" in told
    assert made.manifest.folder == first.manifest.folder
    assert "cat/new.png" in made.load("train").ids + made.load("test").ids
    assert (mapped == first.load("train").images[:1]).all()
    assert not list(made.manifest.folder.parent.glob(".photos*.tmp*"))


def test_the_same_pixels_in_other_words_are_the_same_store(photos):
    first, _ = open_told(request_for(photos))
    for options in (
        {"image_size": (8, 8)},
        {"channels": 3},
        {"image_size": (8, 8), "channels": 3},
    ):
        found, told = open_told(request_for(photos, **options))
        assert (found.manifest.folder, told) == (first.manifest.folder, "")
    other, told = open_told(request_for(photos, image_size=(8, 8), channels=1))
    assert other.manifest.folder != first.manifest.folder
    again, told = open_told(request_for(photos, image_size=(8, 8), channels=1))
    assert told == ""


def test_identical_files_stay_on_one_side(photos):
    for number in range(20):
        copied = (photos / "cat" / f"{number:03}.png").read_bytes()
        (photos / "cat" / f"copy{number}.png").write_bytes(copied)
    found, _ = open_told(request_for(photos, test_fraction=0.3))
    test = [name for name in found.load("test").ids if name.startswith("cat")]
    assert len(test) == 12
    contents = {(photos / name).read_bytes() for name in test}
    train = {(photos / name).read_bytes() for name in found.load("train").ids}
    assert len(contents) == 6
    assert not contents & train


def test_a_validation_split_is_held_out(tmp_path):
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        write_classes(tmp_path / "photos" / split, {"a": count, "b": count})
    request = request_for(tmp_path / "photos")
    found, _ = open_told(request)
    train = found.load("train")
    assert found.held_out.tolist() == [8, 9, 10, 11]
    assert all(train.ids[row].startswith("val/") for row in found.held_out)
    assert len(found.load("test").labels) == 6
    with pytest.raises(InvalidInput, match="test_fraction=0.2 is for images without"):
        open_told(request_for(tmp_path / "photos", test_fraction=0.2))


def test_sizes_without_a_size_are_refused_with_a_proposal(photos):
    write_image(photos / "cat" / "wide.png", 1, (40, 90))
    with pytest.raises(InvalidInput, match=r"(?s)2 sizes .* image_size=16"):
        open_told(request_for(photos))
    assert not (photos.parent / "data").exists()
    found, _ = open_told(request_for(photos, image_size=(6, 4), resize=Resize.SQUASH))
    spec = found.preprocessing
    assert spec == PixelSpec(6, 4, 3, Resize.SQUASH)
    train = found.load("train")
    for pixels, name in zip(train.images, train.ids, strict=True):
        assert (preprocessing.decode(photos / name, spec) == pixels).all()


def test_grey_until_one_file_has_colour(tmp_path):
    photos = write_classes(tmp_path / "photos", {"a": 12, "b": 12}, mode="L")
    assert open_told(request_for(photos))[0].preprocessing.channels == 1
    write_image(photos / "b" / "red.png", 3)
    assert open_told(request_for(photos))[0].preprocessing.channels == 3


def test_files_that_cannot_be_read_are_named_or_left_out(photos):
    for number in range(4):
        (photos / "cat" / f"bad{number}.jpg").write_bytes(b"")
    cut = (photos / "dog" / "000.png").read_bytes()[:60]
    (photos / "dog" / "cut.png").write_bytes(cut)
    (photos / "dog" / "text.jpeg").write_text("no picture")
    for _ in range(2):
        with pytest.raises(InvalidInput) as caught:
            open_told(request_for(photos))
        assert "6 files cannot be read: cat/bad0.jpg (the file is empty)" in str(
            caught.value
        )
        assert "and 1 more" in str(caught.value)
    found, told = open_told(request_for(photos, skip_unreadable=True))
    assert "6 files that cannot be read are left out" in told
    assert ["dog/text.jpeg", "no picture of a known format"] in found.manifest.fields[
        "skipped"
    ]
    before = found.load("train").sha256
    for name, _ in found.skipped:
        (photos / name).unlink()
    clean, _ = open_told(request_for(photos))
    assert clean.load("train").sha256 == before


def test_a_class_without_readable_files_is_refused(photos):
    (photos / "eel").mkdir()
    (photos / "eel" / "a.png").write_bytes(b"x")
    with pytest.raises(InvalidInput, match="no image to train on of eel"):
        open_told(request_for(photos, skip_unreadable=True))
    assert not list((photos.parent / "data" / "stores").glob("*.partial"))


def test_too_few_images_for_a_test_split(tmp_path):
    photos = write_classes(tmp_path / "photos", {"a": 2, "b": 1})
    with pytest.raises(InvalidInput, match="too few images"):
        open_told(request_for(photos))
    write_classes(photos, {"a": 10})
    _, told = open_told(request_for(photos))
    assert "no test image of b" in told


def test_nothing_is_written_by_a_dry_run(photos):
    with pytest.raises(DataUnavailable, match="dry_run"):
        open_told(request_for(photos), write=False)
    assert not (photos.parent / "data").exists()


def test_a_preparation_goes_on_after_a_kill(photos, monkeypatch):
    monkeypatch.setattr(staging, "CHUNK_IMAGES", 4)
    whole, _ = open_told(request_for(photos))
    expected = whole.load("train").sha256
    folder = whole.manifest.folder
    folders.remove(folder.name, str(photos.parent / "data"))
    decoded, decode = [], staging.decode_chunk

    def dying(part, spec):
        if len(decoded) == 5:
            raise KeyboardInterrupt
        decoded.append(len(part))
        return decode(part, spec)

    monkeypatch.setattr(staging, "decode_chunk", dying)
    with pytest.raises(KeyboardInterrupt):
        open_told(request_for(photos))
    partial = folder.with_name(f"{folder.name}.partial")
    lines = (partial / "journal.jsonl").read_bytes().splitlines()
    kept = len(lines) - 1
    with open(partial / "rows.u8", "r+b") as file:  # a page that was lost
        file.seek((kept - 1) * 4 * 192 + 5)
        file.write(b"lost")
    decoded.clear()
    monkeypatch.setattr(
        staging, "decode_chunk", lambda p, s: decoded.append(1) or decode(p, s)
    )
    again, _ = open_told(request_for(photos))
    assert len(decoded) == 13 - (kept - 1)
    assert again.load("train").sha256 == expected
    assert not partial.exists()


def test_all_cores_share_a_set_that_is_smaller_than_a_chunk(tmp_path, monkeypatch):
    write_classes(tmp_path / "photos", {"a": 40, "b": 40})
    (tmp_path / "photos" / "b" / "039.png").write_bytes(b"broken")
    request = request_for(tmp_path / "photos", skip_unreadable=True)
    decoded, decode = [], staging.decode_chunk
    monkeypatch.setattr(
        staging, "decode_chunk", lambda p, s: decoded.append(len(p)) or decode(p, s)
    )
    found, _ = open_told(request)
    assert sorted(decoded) == [16, 32, 32]
    assert [name for name, _ in found.skipped] == ["b/039.png"]
    folders.remove(found.manifest.folder.name, str(tmp_path / "data"))
    monkeypatch.setattr(staging, "PIECE_IMAGES", 7)
    again, _ = open_told(request)
    for which in ("train", "test"):
        assert again.load(which).sha256 == found.load(which).sha256
    assert again.skipped == found.skipped


def test_room_on_the_disk_is_checked_before(photos, monkeypatch):
    monkeypatch.setattr(
        store_builder.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})
    )
    with pytest.raises(DataUnavailable, match="1,000 are free"):
        open_told(request_for(photos))


def test_damage_is_found(photos):
    found, _ = open_told(request_for(photos))
    folder = found.manifest.folder
    assert list(store.verify(folder)) == []
    path = folder / "train" / store_manifest.PIXELS
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    (line, other) = store.verify(folder)
    assert "images 0 to 44 differ" in line
    assert "not those that were written" in other
    path.write_bytes(content[:-1])
    assert "missing or damaged" in next(store.verify(folder))
    again, told = open_told(request_for(photos))
    assert "preparing" in told
    assert list(store.verify(again.manifest.folder)) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"version": 1}', b"\xff"])
def test_a_manifest_of_other_content_is_no_store(photos, content):
    found, _ = open_told(request_for(photos))
    (found.manifest.folder / store_manifest.FILE).write_bytes(content)
    assert store_manifest.load(found.manifest.folder) is None


def test_manifests_name_versions_and_source(photos):
    found, _ = open_told(request_for(photos))
    fields = json.loads((found.manifest.folder / store_manifest.FILE).read_text())
    assert fields["packages"]["pillow"]
    assert fields["source"]["files"] == 50
    assert fields["source"]["test_fraction"] == 0.1
    assert fields["classes"] == ["cat", "dog"]


def test_without_a_data_dir_it_goes_to_the_cache_of_the_user(photos, monkeypatch):
    cache = photos.parent / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    found, told = open_told(FilesRequest(image_dir=str(photos)))
    assert cache in found.manifest.folder.parents
    assert str(found.manifest.folder) in told
    assert folders.all_stores(None) == [found.manifest.folder]
    folders.remove(found.manifest.folder.name, None)
    assert folders.all_stores(None) == []
    with pytest.raises(InvalidInput, match="no store"):
        folders.remove("other", None)
