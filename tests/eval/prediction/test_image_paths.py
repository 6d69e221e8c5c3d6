"""Paths: what a folder holds, whose label a file has, lists from a pipe."""

import os

import pytest

from eval.prediction import image_paths
from eval.prediction.image_paths import ImagePath, find_images, read_names
from trainer.errors import InvalidInput


@pytest.fixture
def photos(tmp_path):
    for name in ("cat/b.JPG", "cat/a.png", "cat/deep/c.webp", "dog/犬.gif", "x/o.bmp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in (".DS_Store", "Thumbs.db", "cat/.hidden.png", "cat/notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_walked_in_order_and_class_folders_are_labels(photos):
    found = list(find_images([str(photos)], ["cat", "dog"]))
    relative = [(os.path.relpath(one.path, photos), one.label) for one in found]
    assert relative == [
        ("cat/a.png", "cat"),
        ("cat/b.JPG", "cat"),
        ("cat/deep/c.webp", "cat"),
        ("dog/犬.gif", "dog"),
        ("x/o.bmp", None),
    ]
    assert not any(one.problem for one in found)


def test_class_folders_of_a_split_are_labels_too(photos):
    (photos / "test" / "dog").mkdir(parents=True)
    (photos / "test" / "dog" / "t.png").touch()
    found = {one.path: one.label for one in find_images([str(photos)], ["dog"])}
    assert found[str(photos / "test" / "dog" / "t.png")] == "dog"


def test_a_named_file_is_taken_whatever_its_name_and_has_no_label(photos):
    names = [str(photos / "cat" / "notes.txt"), str(photos / "no such file")]
    assert list(find_images(names, ["cat"])) == [ImagePath(name) for name in names]


def test_links_are_followed_but_not_in_a_circle(photos):
    (photos / "cat" / "up").symlink_to(photos)
    (photos / "dog" / "l.png").symlink_to(photos / "cat" / "a.png")
    (photos / "dog" / "gone.png").symlink_to(photos / "nothing")
    found = [
        os.path.relpath(one.path, photos) for one in find_images([str(photos)], [])
    ]
    assert found.count("cat/a.png") == 1
    assert {"dog/l.png", "dog/gone.png"} <= set(found) and len(found) == 7


def test_a_folder_without_pictures_is_named(tmp_path):
    (tmp_path / "notes.txt").touch()
    (found,) = find_images([str(tmp_path)], [])
    assert found.path == str(tmp_path) and "no picture" in found.problem


def test_files_come_while_the_folder_is_walked(photos, monkeypatch):
    listed, real = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda f: listed.append(f) or real(f))
    next(find_images([str(photos)], []))
    assert listed == [str(photos), str(photos / "cat")]


def names_in(*pieces: bytes) -> list[str | None]:
    reader, writer = os.pipe()
    try:
        for piece in pieces:
            os.write(writer, piece)
        os.close(writer)
        return list(read_names(reader))
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a.png\nb c.png\n", ["a.png", "b c.png"]),
        (b"a.png\n\nb.png", ["a.png", "b.png"]),
        (b"a\nb.png\0c.png\0", ["a\nb.png", "c.png"]),
        (b"only.png", ["only.png"]),
        (b"odd\xff.png\n", ["odd\udcff.png"]),
        ("写真.png\0".encode(), ["写真.png"]),
        (b"x" * 5000 + b"\n", ["x" * 5000]),
    ],
)
def test_names_are_separated_by_nul_or_line_ends(content, names):
    assert names_in(content) == names


def test_a_list_without_a_name_is_refused():
    for content in (b"", b"\n\n", b"\0"):
        with pytest.raises(InvalidInput, match="no path"):
            names_in(content)


def test_a_pipe_that_waits_gives_what_came(monkeypatch):
    monkeypatch.setattr(image_paths, "WAIT_SECS", 0.01)
    reader, writer = os.pipe()
    names = read_names(reader)
    os.write(writer, b"a.png\n")
    assert [next(names), next(names)] == ["a.png", None]
    os.write(writer, b"b.png\n")
    assert next(name for name in names if name) == "b.png"
    os.close(writer)
    assert list(names) == []
    os.close(reader)
