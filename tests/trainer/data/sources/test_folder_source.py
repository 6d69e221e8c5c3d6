"""A folder of image files: which files, classes and splits it has."""

import os

import pytest

from tests.support.image_folders import write_classes, write_image
from trainer.data.sources.folder_source import list_folder
from trainer.errors import InvalidInput


def names(listing):
    return [file.name for file in listing.files]


def test_class_folders_may_be_nested_and_hold_other_files(tmp_path):
    write_classes(tmp_path, {"dog": 2, "cat": 1})
    write_image(tmp_path / "cat" / "old" / "deep" / "x.PNG", 9)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png", "readme.txt"):
        (tmp_path / "cat" / name).write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    write_image(tmp_path / "lost.png", 9)
    listing = list_folder(str(tmp_path))
    assert listing.classes == ("cat", "dog")
    assert names(listing) == [
        "cat/000.png",
        "cat/old/deep/x.PNG",
        "dog/000.png",
        "dog/001.png",
    ]
    assert [file.label for file in listing.files] == [0, 0, 1, 1]
    assert not listing.has_test
    told = "\n".join(listing.remarks)
    assert "1 files are left out" in told
    assert "1 pictures are left out" in told


def test_splits_have_their_own_order(tmp_path):
    for split in ("test", "valid", "train"):
        write_classes(tmp_path / split, {"a": 1, "b": 1})
    listing = list_folder(str(tmp_path))
    assert names(listing) == [
        f"{split}/{name}/000.png"
        for split in ("train", "valid", "test")
        for name in ("a", "b")
    ]
    assert [file.split for file in listing.files][2] == "validation"
    assert listing.has_test


def test_train_may_be_a_class(tmp_path):
    write_classes(tmp_path, {"train": 1, "bus": 1})
    assert list_folder(str(tmp_path)).classes == ("bus", "train")


def test_links_are_followed_but_not_in_circles(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    write_classes(root, {"a": 1})
    write_classes(elsewhere, {"real": 2})
    (root / "b").symlink_to(elsewhere / "real")
    (root / "a" / "again").symlink_to(root / "a")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to("self")
    (root / "a" / "gone.png").symlink_to("nowhere.png")
    listing = list_folder(str(root))
    assert {"a/000.png", "b/000.png", "b/001.png"} <= set(names(listing))
    assert len(listing.files) < 20
    (broken,) = [file for file in listing.files if file.problem]
    assert "target does not exist" in broken.problem


def test_names_in_any_script_and_in_none(tmp_path):
    write_classes(tmp_path, {"猫": 1, "čaj 🍵": 1})
    strange = os.fsencode(tmp_path / "猫") + b"/\xff\xfe.png"
    with open(strange, "wb") as file:
        file.write(b"x")
    listing = list_folder(str(tmp_path))
    assert listing.classes == ("čaj 🍵", "猫")
    (file,) = [file for file in listing.files if file.problem]
    assert "not UTF-8" in file.problem
    assert len(listing.fingerprint) == 64


def test_pipes_are_not_opened(tmp_path):
    write_classes(tmp_path, {"a": 1, "b": 1})
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (file,) = [f for f in list_folder(str(tmp_path)).files if f.problem]
    assert "no regular file" in file.problem


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({"Cat": 1, "cat": 1}, "look alike: Cat, cat"),
        ({"cat": 1}, "1 class: cat"),
        ({"a": 1, "b": 0, "c": 1}, "no image to train on of b"),
        ({"train/a": 1, "train/b": 1, "test/c": 1}, "no image to train on of c"),
        ({"test/a": 1, "val/b": 1}, "no folder train"),
        ({"val/a": 1, "valid/b": 1, "train/a": 1}, "names a split twice"),
        ({"train/a": 1, "test/b": 1, "more/c": 1}, "other folders (more)"),
        ({"a\nb": 1, "c": 1}, "control character"),
        ({}, "no image files in class folders"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, classes, words):
    for name in classes:
        (tmp_path / name).mkdir(parents=True)
    write_classes(tmp_path, classes)
    with pytest.raises(InvalidInput) as caught:
        list_folder(str(tmp_path)).check()
    assert words in str(caught.value)


def test_a_change_changes_the_fingerprint(tmp_path):
    write_classes(tmp_path, {"a": 2, "b": 1})
    before = list_folder(str(tmp_path)).fingerprint
    assert list_folder(str(tmp_path)).fingerprint == before
    write_image(tmp_path / "a" / "000.png", 99)
    os.utime(tmp_path / "a" / "000.png", ns=(1, 1))
    assert list_folder(str(tmp_path)).fingerprint != before
