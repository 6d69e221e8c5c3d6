"""A table of image files: CSV and JSON Lines."""

import json

import pytest

from tests.support.image_folders import write_image
from trainer.data.sources.table_source import list_table
from trainer.errors import InvalidInput


def write_csv(folder, text, name="list.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_order_of_rows_is_kept_within_a_split(tmp_path):
    write_image(tmp_path / "z.png", 1)
    path = write_csv(
        tmp_path,
        "\ufeffLabel,path,split\n"
        'dog,"t,1.png",test\n dog,z.png,train\ncat,a.png,train\ndog,v.png,VAL\n',
    )
    listing = list_table(path)
    assert listing.classes == ("cat", "dog")
    assert [f.name for f in listing.files] == ["z.png", "a.png", "v.png", "t,1.png"]
    assert [f.label for f in listing.files] == [1, 0, 1, 1]
    assert [f.split for f in listing.files] == ["train", "train", "validation", "test"]
    assert listing.files[0].problem is None
    assert listing.files[1].problem == "it does not exist"


def test_json_lines_hold_the_same(tmp_path):
    rows = [{"path": "a.png", "label": 7}, {"path": str(tmp_path / "b"), "label": "x"}]
    text = "\n".join(map(json.dumps, rows)) + "\n\n"
    listing = list_table(write_csv(tmp_path, text, "list.jsonl"))
    assert listing.classes == ("7", "x")
    assert listing.files[1].path == str(tmp_path / "b")
    assert not listing.has_test


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must begin with a line that names its columns"),
        ("file,label\na,b\n", "must begin with a line that names its columns"),
        ("path,label\n", "names no images"),
        ("path,label\na.png,\n", "line 2 has no label"),
        ("path,label\n,x\n", "line 2 has no path"),
        ("path,label\na.png,x\n./a.png,y\n", "line 3 names ./a.png again"),
        ("path,label\na,x,y\n", "line 2 has more values"),
        ("path,label,split\na,x,train\nb,y,dev\n", "line 3 has the split 'dev'"),
        ("path,label,split\na,x,train\nb,y,\n", "line 3 has the split ''"),
        ("path,label\na,x\nb,x\n", "1 class: x"),
        ("path,label\na,x\nb,X\n", "look alike"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, words):
    with pytest.raises(InvalidInput) as caught:
        list_table(write_csv(tmp_path, text)).check()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]\n", "line 1 is no JSON object"),
        ("{\n", "line 1 is no JSON"),
        ('{"path": ["a"], "label": "x"}\n', "must be a text"),
        ('{"path": "a", "label": 0.5}\n', "must be a text"),
    ],
)
def test_wrong_json_lines_are_named(tmp_path, text, words):
    with pytest.raises(InvalidInput) as caught:
        list_table(write_csv(tmp_path, text, "list.jsonl"))
    assert words in str(caught.value)


def test_other_files_are_refused(tmp_path):
    for path in (tmp_path / "no.csv", tmp_path / "list.xlsx", tmp_path):
        with pytest.raises(InvalidInput):
            list_table(str(path))
    (tmp_path / "latin.csv").write_bytes(b"path,label\n\xff,x\n")
    with pytest.raises(InvalidInput):
        list_table(str(tmp_path / "latin.csv"))
