"""The doctor: planted faults of a folder are all named, in JSON and on a page."""

import csv
import html.parser
import json
import shutil

import numpy as np
import pytest
from absl import flags
from PIL import Image

from eval import data
from eval.inspection import inspection_run
from eval.inspection.inspection_request import InspectionRequest
from tests.support import eval_models
from tests.support.commands import run_command
from tests.support.image_folders import write_classes
from trainer.errors import InvalidInput
from trainer.rundir.layout import Run

CLASSES = ("cat", "dog <b>", "狐")


def draw(generator, kind: int) -> Image.Image:
    corners = generator.integers(0, 256, (4 + kind, 4, 3)).astype(np.uint8)
    return Image.fromarray(corners).resize((48, 40), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ten pictures a class in train, four in test, and what was planted."""
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 4)):
        for kind, name in enumerate(CLASSES):
            inside = folder / split / name
            inside.mkdir(parents=True)
            for n in range(count):
                draw(generator, kind).save(inside / f"{n}.png")
    train, test = folder / "train", folder / "test"
    shutil.copy(train / "cat" / "0.png", test / "cat" / "same.png")
    for n, name in enumerate(CLASSES):
        with Image.open(train / name / f"{n + 1}.png") as image:
            image.save(test / name / "again.jpg", quality=75)
    with Image.open(train / "cat" / "5.png") as image:
        image.save(train / "dog <b>" / "other_label.bmp")
    with Image.open(train / "狐" / "7.png") as image:
        image.save(train / "狐" / "called.gif", "PNG", optimize=True)
    (train / "cat" / "bad.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def planted(photos, tmp_path_factory):
    """The findings of the folder, and the folder of the page."""
    out = tmp_path_factory.mktemp("out") / "inspection"
    done = run_command("eval.data", f"--image_dir={photos}", f"--out_dir={out}")
    assert done.returncode == 0, done.stderr
    assert "the splits leak: 1 groups with the same pixels and 3" in done.stdout
    return json.loads((out / "data.json").read_text()), out


def names(group) -> set[str]:
    return {image["name"] for image in group["images"]}


def test_every_duplicate_across_splits_is_found(planted):
    found, _ = planted
    exact = [g for g in found["duplicates"]["exact"] if len(g["splits"]) > 1]
    near = [g for g in found["duplicates"]["near"] if len(g["splits"]) > 1]
    assert [names(group) for group in exact] == [
        {"train/cat/0.png", "test/cat/same.png"}
    ]
    assert exact[0]["same_bytes"] is True
    expected = [
        {f"train/{name}/{n + 1}.png", f"test/{name}/again.jpg"}
        for n, name in enumerate(CLASSES)
    ]
    assert sorted(map(sorted, map(names, near))) == sorted(map(sorted, expected))
    assert found["leaks"] == {"exact": 1, "near": 3, "images": 4}


def test_different_labels_and_copies_within_a_split_are_named(planted):
    found, _ = planted
    inside = [g for g in found["duplicates"]["exact"] if len(g["splits"]) == 1]
    by_names = {frozenset(names(group)): group for group in inside}
    conflict = by_names.pop(
        frozenset({"train/cat/5.png", "train/dog <b>/other_label.bmp"})
    )
    assert conflict["classes"] == ["cat", "dog <b>"]
    assert conflict["same_bytes"] is False
    assert found["label_conflicts"] == 1
    assert list(by_names) == [frozenset({"train/狐/7.png", "train/狐/called.gif"})]


def test_broken_and_odd_files_have_a_reason(planted):
    found, _ = planted
    (broken,) = found["broken"]
    assert broken["name"] == "train/cat/bad.jpg" and "known format" in broken["reason"]
    odd = {one["name"]: one["reasons"] for one in found["odd"]}
    assert odd == {"train/狐/called.gif": ["a PNG file that is called .gif"]}


def test_counts_are_by_split_and_class(planted):
    found, _ = planted
    assert found["version"] == 1 and found["images"] == 49 and found["readable"] == 48
    assert found["balance"]["train"]["by_class"] == dict.fromkeys(CLASSES, 11)
    assert found["balance"]["test"]["largest"] == 6
    part = next(
        p for p in found["parts"] if (p["split"], p["class"]) == ("train", "cat")
    )
    assert part["images"] == 11 and part["broken"] == 1
    assert part["formats"] == {"PNG": 10} and part["width"]["median"] == 48
    assert found["sizes"]["commonest"] == [{"height": 40, "width": 48, "images": 48}]
    assert {len(rows) for rows in found["extremes"].values()} == {12}


class Parsed(html.parser.HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.pictures, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.pictures.append(dict(attributes))
        elif tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text.append(text)


def test_the_page_is_whole_and_asks_no_network(planted):
    _, out = planted
    parsed = Parsed((out / "data.html").read_text())
    assert parsed.open == [] and len(parsed.pictures) > 60
    assert all(one["src"].startswith("data:image/") for one in parsed.pictures)
    text = " ".join(parsed.text)
    assert "dog <b>" in text and "狐" in text and "The splits leak" in text
    assert sorted(path.name for path in out.iterdir()) == ["data.html", "data.json"]


def command(monkeypatch, capfd, *words):
    return eval_models.command(monkeypatch, capfd, "data", *map(str, words))


def test_strict_exits_with_1_where_a_split_leaks(monkeypatch, capfd, photos, tmp_path):
    out = f"--out_dir={tmp_path / 'out'}"
    leaking = command(monkeypatch, capfd, f"--image_dir={photos}", out, "--strict")
    assert leaking.code == 1 and (tmp_path / "out" / "data.html").exists()
    alone = command(
        monkeypatch, capfd, f"--image_dir={photos / 'test'}", out, "--strict"
    )
    assert alone.code == 0 and "do not leak" in alone.out


def test_a_table_is_inspected(photos, tmp_path):
    with open(tmp_path / "table.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        for path in sorted((photos / "test").rglob("*.png")):
            rows.writerow([path, path.parent.name, "train"])
        rows.writerow([photos / "train" / "cat" / "0.png", "cat", "test"])
    values = data.define(flags.FlagValues())
    table = tmp_path / "table.csv"
    values(["data", f"--image_list={table}", f"--out_dir={tmp_path / 'out'}"])
    found = inspection_run.inspect(data.parse_request(values))
    assert found["leaks"] == {"exact": 1, "near": 0, "images": 1}


def test_a_run_tells_likely_label_errors(data_dir, tmp_path):
    run = eval_models.make_run(tmp_path / "run", data_dir, taught=True)
    found = inspection_run.inspect(InspectionRequest(run=run))
    errors = found["label_errors"]
    assert errors["images"] == 360 + 142 and errors["model"] == "run"
    assert 0 < len(errors["found"]) < 500
    assert {one["split"] for one in errors["found"]} <= {"validation", "test"}
    assert all(one["likely"] != one["class"] for one in errors["found"])
    assert found["balance"]["validation"]["images"] == 142
    assert (Run(run.path).path / "inspection" / "data.html").exists()


def test_wrong_usage_is_two_lines_and_exit_2(monkeypatch, capfd, photos, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").touch()
    for words, said in (
        ([], "nothing to inspect"),
        ([f"--image_dir={photos}", "--dataset=digits"], "give one"),
        ([f"--image_dir={tmp_path / 'none'}"], "does not exist"),
        ([f"--image_dir={photos}", f"--out_dir={folder}"], "thesis.txt"),
        ([f"--run_dir={tmp_path}"], "no run"),
    ):
        ended = command(monkeypatch, capfd, *words)
        assert ended.code == 2 and len(ended.err) <= 2, ended
        assert said in " ".join(ended.err)


def test_a_folder_of_which_nothing_can_be_read_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "x.png").touch()
    values = data.define(flags.FlagValues())
    values(
        ["data", f"--image_dir={tmp_path / 'photos'}", f"--out_dir={tmp_path / 'o'}"]
    )
    with pytest.raises(InvalidInput, match="no image can be read"):
        inspection_run.inspect(data.parse_request(values))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ({"a": 2, "b": 0, "c": 2}, "has no image to train on of b"),
        ({"a": 3}, "has 1 class: a; at least 2"),
        ({"Cat": 2, "cat": 2}, "classes that look alike: Cat, cat"),
        ({"train/a": 2, "train/b": 2, "test/c": 2}, "no image to train on of c"),
        ({"a": 2, "b": -2}, "no image to train on of b can be read"),
    ],
)
def test_a_folder_that_no_training_takes_has_a_page(tmp_path, classes, problem):
    """A negative count: as many files that cannot be read."""
    root, out = tmp_path / "photos", tmp_path / "out"
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        write_classes(root, {name: max(count, 0)}, size=(20, 20))
        for n in range(-count):
            (root / name / f"{n}.jpg").write_bytes(b"no image")
    values = data.define(flags.FlagValues())
    values(["data", f"--image_dir={root}", f"--out_dir={out}"])
    found = inspection_run.inspect(data.parse_request(values))
    (told,) = found["data"]["problems"]
    assert problem in told
    assert inspection_run.summary_lines(found)[0].startswith("no training can begin: ")
    assert problem in " ".join(Parsed((out / "data.html").read_text()).text)


def test_strict_exits_with_1_where_no_training_can_begin(monkeypatch, capfd, tmp_path):
    root = write_classes(tmp_path / "photos", {"a": 2}, size=(20, 20))
    words = [f"--image_dir={root}", f"--out_dir={tmp_path / 'out'}"]
    ended = command(monkeypatch, capfd, *words)
    assert ended.code == 0 and "2 images in 1 class:" in ended.out
    assert command(monkeypatch, capfd, *words, "--strict").code == 1
