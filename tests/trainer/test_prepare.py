"""trainer.prepare with image files, in this process."""

import pytest
from absl import flags

from tests.support.image_folders import write_classes
from trainer import prepare
from trainer.errors import InvalidConfig, InvalidInput, TrainingFailed


@pytest.fixture
def prepared(tmp_path, capsys):
    """Runs the command; returns what it printed."""
    write_classes(tmp_path / "photos", {"a": 12, "b": 11})

    def run(*words):
        values = prepare._define(flags.FlagValues())
        values(["", f"--data_dir={tmp_path / 'data'}", *words])
        prepare.main(values)
        return capsys.readouterr().out

    run.folder = tmp_path
    return run


def test_stores_are_prepared_listed_verified_and_removed(prepared):
    photos = f"--image_dir={prepared.folder / 'photos'}"
    out = prepared(photos, "--image_size=4x6", "--resize=letterbox")
    assert "{'train': 21, 'test': 2} images of 4 x 6 x 3, 2 classes" in out
    listed = prepared("--list")
    (name,) = [line.partition(":")[0] for line in listed.splitlines()]
    assert name.startswith("photos-4x6x3-letterbox-")
    assert "1 stores hold what was written" in prepared("--verify")
    path = prepared.folder / "data" / "stores" / name / "test" / "pixels.u8"
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(TrainingFailed, match="damaged"):
        prepared("--verify")
    assert name in prepared(f"--remove={name}")
    assert "no stores in" in prepared("--list")


@pytest.mark.parametrize(
    "words",
    [
        ["--image_dir=a", "--image_list=b.csv"],
        ["--image_dir=a", "--dataset=digits"],
        ["--image_dir="],
        ["--image_dir=a", "--image_size=0"],
        ["--image_dir=a", "--channels=2"],
        ["--image_dir=a", "--channels=4"],
        ["--image_dir=/nowhere"],
        ["--image_list=/nowhere.csv"],
        ["--remove=none"],
    ],
)
def test_wrong_usage_is_refused(prepared, words):
    with pytest.raises((InvalidConfig, InvalidInput)):
        prepared(*words)
    assert not (prepared.folder / "data").exists()
