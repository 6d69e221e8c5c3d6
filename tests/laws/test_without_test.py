"""A run without a test never reads the test split, and is the same run otherwise."""

import json
import shutil

import numpy as np
import pytest

from tests.support import sealed_studies
from tests.support.commands import BLOCK, result, run_trainer
from tests.support.image_folders import write_classes
from trainer.data import loading
from trainer.data.store.request import FilesRequest
from trainer.distillation import teacher
from trainer.errors import InvalidInput
from trainer.rundir import checkpoints, metadata
from trainer.rundir.layout import Run

FEW = [*BLOCK, "--train_steps=6", "--warmup_epochs=0", "--checkpoint_every_steps=3"]


@pytest.fixture(scope="module")
def sealed(data_dir, tmp_path_factory):
    return sealed_studies.close_test(data_dir, tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def untested(sealed, tmp_path_factory):
    """A finished run without a test, and what it printed."""
    path = tmp_path_factory.mktemp("runs") / "untested"
    return path, run_trainer(sealed, path, *FEW, "--notest", check=True)


def cut(path, copy):
    """A copy of a run that looks as if it was killed after its first checkpoint."""
    shutil.copytree(path, copy)
    (copy / "result.json").unlink()
    checkpoints.remove(checkpoints.list_folders(copy / "checkpoints")[0])
    return copy


def test_it_trains_where_the_test_split_cannot_be_opened(untested, sealed):
    path, done = untested
    found = result(path)
    assert found["tested"] is False
    assert not [name for name in found if name.startswith("test_")]
    assert list(found["data_sha256"]) == list(found["pixels_sha256"]) == ["train"]
    low, high = found["validation_accuracy_interval"]
    assert low <= found["validation_accuracy"] <= high
    assert done.stdout.startswith("validation only: accuracy")
    assert "the test split was not read" in done.stdout
    again = run_trainer(sealed, path, *FEW, "--notest", check=True)
    assert again.stdout == done.stdout


@pytest.mark.slow
def test_a_resume_may_test_and_needs_the_split_only_then(
    untested, sealed, data_dir, tmp_path
):
    path, _ = untested
    tested, closed = cut(path, tmp_path / "tested"), cut(path, tmp_path / "closed")
    run_trainer(sealed, closed, *FEW, "--notest", check=True)
    refused = run_trainer(sealed, tested, *FEW)
    assert refused.returncode == 2
    assert "split test" in refused.stderr
    run_trainer(data_dir, tested, *FEW, check=True)
    assert result(closed)["weights_sha256"] == result(path)["weights_sha256"]
    assert result(tested)["weights_sha256"] == result(path)["weights_sha256"]
    assert result(tested)["tested"] is True
    assert result(tested)["test_images"] == 360


def test_data_without_a_test_split_are_those_with_it():
    both = {"sha256": {"train": "a", "test": "b"}, "pixels_sha256": {"train": "c"}}
    train = {"sha256": {"train": "a"}, "pixels_sha256": {"train": "c"}}
    other = {"sha256": {"train": "x"}, "pixels_sha256": {"train": "c"}}
    assert metadata.data_differences(both, train) == []
    assert metadata.data_differences(train, both) == []
    assert metadata.data_differences(both, other)
    assert metadata.data_differences(other, both)
    changed = both | {"sha256": {"train": "a", "test": "x"}}
    assert metadata.data_differences(both, changed)


def test_a_teacher_with_a_test_teaches_a_run_without_one(tmp_path):
    told = {"name": "x", "labels": ["a", "b"], "image_shape": [8, 8, 3]}
    whole = told | {"sha256": {"train": "a", "test": "b"}}
    (tmp_path / "config.json").write_text(json.dumps({"data": whole}))
    teacher.check_data(Run(tmp_path), told | {"sha256": {"train": "a"}})
    with pytest.raises(InvalidInput, match="has another data"):
        teacher.check_data(Run(tmp_path), told | {"sha256": {"train": "x"}})


def unreadable_test(root):
    """Image files whose test images cannot be opened."""
    write_classes(root / "train", {"a": 3, "b": 3})
    for name in ("a", "b"):
        (root / "test" / name).mkdir(parents=True)
        (root / "test" / name / "0.png").symlink_to("nowhere")
    return root


def write_table(root):
    rows = [f"{p.relative_to(root)},{p.parent.name},{p.parts[-3]}" for p in files(root)]
    table = root / "table.csv"
    table.write_text("\n".join(["path,label,split", *rows]) + "\n")
    return table


def files(root):
    return sorted(root.glob("*/*/*.png"))


@pytest.mark.parametrize("kind", ["image_dir", "image_list"])
def test_named_test_images_are_not_opened(tmp_path, kind):
    root = unreadable_test(tmp_path / "photos")
    path = str(root if kind == "image_dir" else write_table(root))
    asked = {kind: path, "data_dir": str(tmp_path)}
    source = loading.open_files(FilesRequest(**asked, test=False))
    assert len(source.load("train").labels) == 6
    with pytest.raises(InvalidInput, match="holds no test split"):
        source.load("test")
    with pytest.raises(InvalidInput):
        loading.open_files(FilesRequest(**asked))


def test_images_that_are_set_apart_are_the_same_with_and_without_a_test(tmp_path):
    root = write_classes(tmp_path / "photos", {"a": 30, "b": 30})
    tested = loading.from_files(root, data_dir=str(tmp_path))
    untested = loading.from_files(root, data_dir=str(tmp_path), test=False)
    assert untested.test is None
    np.testing.assert_array_equal(untested.train.images, tested.train.images)
