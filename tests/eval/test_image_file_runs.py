"""A run of image files: its files are read as in training, its splits inspected."""

import shutil

import numpy as np
import pytest
from PIL import Image

import trainer
from eval import evaluation, model_source
from eval.inspection import inspection_run
from eval.inspection.inspection_request import InspectionRequest
from eval.prediction.image_classifier import ImageClassifier
from tests.support.commands import run_command
from trainer.config.enums import Resize
from trainer.data.preprocessing import PixelSpec
from trainer.rundir.layout import Run

SHORT = ["--train_steps=3", "--warmup_epochs=0", "--global_batch=8"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for kind, name in enumerate(("cat", "dog", "fox")):
        (folder / name).mkdir()
        for n in range(20):
            corners = generator.integers(0, 256, (3 + kind, 4, 3)).astype(np.uint8)
            size = tuple(generator.integers(30, 70, 2).tolist())
            image = Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)
            image.save(folder / name / f"{n}.jpg")
    for n in range(10):  # some of these are set apart for the test, some held out
        with Image.open(folder / "fox" / f"{n}.jpg") as image:
            image.save(folder / "fox" / f"{n} again.jpg", quality=60)
    (folder / "cat" / "bad.png").write_bytes(b"none")
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    words = [f"--image_dir={photos}", "--image_size=32", "--resize=letterbox"]
    words += ["--skip_unreadable", "--model_kwargs=width=0.25", *SHORT]
    where = [f"--run_dir={root / 'run'}", f"--data_dir={root / 'data'}"]
    run_command("trainer.main", *words, *where, check=True)
    return root / "run"


def test_files_are_read_and_answered_as_in_the_evaluation(trained, photos, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    report = evaluation.evaluate(run)
    packed = np.load(report.path / "predictions.npz")
    classifier = ImageClassifier(model_source.from_run(Run(run)))
    assert classifier.spec == PixelSpec(32, 32, 3, Resize.LETTERBOX)
    paths = [photos / name for name in packed["ids"]]
    found = trainer.load(run).predict_files(paths)
    temperature = report.calibration["temperature"] or 1.0
    expected = packed["probabilities"] ** (1 / temperature)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_splits_of_the_run_are_inspected(trained, photos):
    found = inspection_run.inspect(InspectionRequest(run=Run(trained)))
    images = {name: part["images"] for name, part in found["balance"].items()}
    assert list(images) == ["train", "validation", "test"]
    assert images["test"] == 7 and sum(images.values()) == 71
    assert [one["name"] for one in found["broken"]] == ["cat/bad.png"]
    near = [
        sorted(image["name"] for image in group["images"])
        for group in found["duplicates"]["near"]
    ]
    assert sorted(near) == [[f"fox/{n} again.jpg", f"fox/{n}.jpg"] for n in range(10)]
    assert found["leaks"]["near"] > 0
    searched = images["test"] + images["validation"]
    assert found["label_errors"]["images"] == searched
