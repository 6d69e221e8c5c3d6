"""A model's own class names are the truth, whatever data set is opened beside it."""

import importlib.util
import json
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

from export import bench, micro, saved_model, tflite
from export.artifact.number_formats import Io, Scheme
from export.lite.tflite_options import TFLiteOptions
from export.lite.tflite_writer import write_tflite
from tests.support import eval_models, export_runs
from trainer.data import classes
from trainer.data.sources import tfds_source
from trainer.errors import InvalidInput
from trainer.rundir import layout

DIGITS = tuple("0123456789")
SETS = {  # names, and what becomes of a digit's image and label
    "reversed": (DIGITS[::-1], lambda i: i, lambda n: 9 - n),
    "letters": (tuple("abcdefghij"), lambda i: i, lambda n: n),
    "half": (DIGITS[:5], lambda i: i, lambda n: n % 5),
    "more": ((*DIGITS, "none"), lambda i: i, lambda n: n),
    "smaller": (DIGITS, lambda i: i[:28, :28], lambda n: n),
}
REFUSED = sorted(SETS.keys() - {"reversed"})
EXPORTS = {
    "saved_model": (saved_model.define, saved_model.main),
    "tflite": (tflite.define, tflite.main),
    "micro": (micro.define, micro.main),
    "bench": (bench.define, bench.main),
}


@pytest.fixture(scope="session")
def sets(data_dir, tmp_path_factory):
    """A folder of data sets that are the digits, but for one thing."""
    root = tmp_path_factory.mktemp("sets")
    digits = tfds_source.load_split(tfds_source.locate("digits", str(data_dir)), "test")
    for name, (names, image, label) in SETS.items():
        examples = [
            (key, {"image": image(pixels), "label": label(int(number))})
            for key, (pixels, number) in enumerate(
                zip(digits.images, digits.labels, strict=True)
            )
        ]
        features = {
            "image": tfds.features.Image(shape=image(digits.images[0]).shape),
            "label": tfds.features.ClassLabel(names=list(names)),
        }
        other = "validation" if name == "reversed" else "test"
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            features=tfds.features.FeaturesDict(features),
            split_datasets=dict.fromkeys(("train", other), examples),
            data_dir=str(root),
            disable_shuffling=True,
        )
    return root


def test_places_are_found_by_name():
    assert classes.match_classes("abc", "abc", "m") is None
    assert classes.match_classes("abc", "cab", "m").tolist() == [2, 0, 1]


@pytest.mark.parametrize("data", ["abd", "ab", "abcd", "abb", "xyz", ""])
def test_other_names_or_numbers_are_refused(data):
    for own, other in (("abc", data), (data, "abc")):
        with pytest.raises(InvalidInput, match="m has .* the data set has") as raised:
            classes.match_classes(own, other, "m")
        assert len(str(raised.value).splitlines()) <= 2


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_set_of_other_classes_is_refused(
    command, name, run, sets, monkeypatch, capfd, tmp_path
):
    where = (f"--dataset={name}", f"--data_dir={sets}", f"--out_dir={tmp_path / 'o'}")
    words = [f"--run_dir={run}"] if command == "report" else [str(run), str(run)]
    ended = eval_models.command(monkeypatch, capfd, command, *words, *where)
    assert ended.code == 2 and len(ended.err) <= 2, ended
    assert "--dataset=NAME" in " ".join(ended.err)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("export", EXPORTS)
def test_no_export_names_other_classes(export, name, run, sets):
    if export == "micro" and not importlib.util.find_spec("tflite_micro"):
        pytest.skip("tflite-micro is not installed")
    define, main = EXPORTS[export]
    words = (f"--run_dir={run}", f"--dataset={name}", f"--data_dir={sets}")
    with pytest.raises(InvalidInput, match="dataset=NAME"):
        main(export_runs.parsed(define, *words))
    assert not (run / "export").exists()


def test_the_same_classes_in_another_order_are_matched_and_that_is_said(
    template, sets, monkeypatch, capfd, tmp_path
):
    found = {}
    for name, extra in {
        "own": (),
        "reversed": ("--dataset=reversed", f"--data_dir={sets}"),
    }.items():
        out = tmp_path / name
        words = (f"--run_dir={template}", f"--out_dir={out}", *extra)
        ended = eval_models.command(monkeypatch, capfd, "report", *words)
        assert ended.code == 0, ended
        found[name] = json.loads((out / "report.json").read_text())
        told = " ".join(ended.err)
        assert ("in another order" in told) == (name == "reversed")
        assert ("is not the test split" in told) == (name == "reversed")
    own, other = (found[name]["scores"] for name in ("own", "reversed"))
    assert own["correct"] == other["correct"]
    assert own["confusion"] == np.flip(other["confusion"]).tolist()
    assert found["reversed"]["data"]["split"] == "validation"
    assert " of 360 validation images" in ended.out


def test_a_training_names_the_split_it_was_tested_on(template):
    run = layout.Run(template)
    known = {"test_accuracy": 0.5, "test_accuracy_interval": [0.4, 0.6]}
    known |= {"test_images": 9, "steps": 1, "images_per_second": 1, "data": "x/1.0.0"}
    known |= {"weights_sha256": "00"}
    assert "split" not in layout.format_summary(run, known | {"test_split": "test"})
    said = layout.format_summary(run, known | {"test_split": "validation"})
    assert "all 9 images of x/1.0.0, its validation split" in said


def test_a_comparison_matches_each_models_classes(
    template, sets, monkeypatch, capfd, tmp_path
):
    words = (str(template), str(template), f"--out_dir={tmp_path}")
    where = ("--dataset=reversed", f"--data_dir={sets}")
    for extra in ((), where):
        ended = eval_models.command(monkeypatch, capfd, "compare", *words, *extra)
        assert ended.code == 0, ended
        found = json.loads((tmp_path / "comparison.json").read_text())
        if not extra:
            accuracy = found["models"][0]["accuracy"]
    assert "in another order" in " ".join(ended.err)
    assert [model["accuracy"] for model in found["models"]] == [accuracy] * 2
    assert found["data"]["split"] == "validation"


def test_a_file_exported_beside_another_order_has_the_runs_own_labels(sets):
    opened = export_runs.opened("--dataset=reversed", f"--data_dir={sets}")
    own = export_runs.opened().verification_set
    np.testing.assert_array_equal(opened.verification_set.labels, own.labels)
    made = write_tflite(opened, TFLiteOptions(Scheme.FLOAT32, Io.UINT8))
    text = zipfile.ZipFile(made.path).read("labels.txt").decode()
    assert tuple(text.splitlines()) == DIGITS == tuple(made.manifest["labels"])
    noted = {k: made.manifest[k] for k in ("data", "test_data", "test_split")}
    assert noted == {
        "data": "digits/1.0.0",
        "test_data": "reversed/1.0.0",
        "test_split": "validation",
    }
    assert " validation images" in made.summary()
    assert made.manifest["test"]["accuracy"] > 0.8
