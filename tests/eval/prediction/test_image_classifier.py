"""ImageClassifier: files give what their pixels give, in order, a few at a time."""

import json
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from eval import model_source
from eval.metrics import calibration
from eval.prediction import image_classifier
from eval.prediction.image_classifier import ImageClassifier
from eval.prediction.image_paths import ImagePath
from tests.support import eval_models
from trainer.config.enums import Resize
from trainer.data.preprocessing import PixelSpec, decode
from trainer.errors import InvalidInput
from trainer.rundir.layout import Run

GENERATOR = np.random.default_rng(0)
SIZES = [(32, 32), (40, 64), (100, 33), (32, 48)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for n in range(12):
        height, width = SIZES[n % len(SIZES)]
        pixels = GENERATOR.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{n:02}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def tflite_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "means.tflite"
    return eval_models.tflite(path, answer=tf.nn.softmax)


def open_file(path, *words) -> ImageClassifier:
    return ImageClassifier(model_source.from_file(path), *words)


def answers(classifier, paths):
    found = classifier.predict_files(ImagePath(str(path)) for path in paths)
    return [one for chunk in found for one in chunk]


def test_a_run_answers_files_as_it_answers_their_pixels(template, files):
    classifier = ImageClassifier(model_source.from_run(Run(template)))
    found = answers(classifier, files)
    assert [one.path for one in found] == [str(path) for path in files]
    pixels = np.stack([decode(path, PixelSpec(32, 32, 3)) for path in files])
    np.testing.assert_array_equal([one.pixels for one in found], pixels)
    np.testing.assert_array_equal(
        [one.probabilities for one in found], classifier.predict(pixels)
    )
    assert classifier.names == tuple("0123456789")


def test_how_many_are_predicted_at_once_does_not_matter(
    template, files, tflite_file, monkeypatch
):
    run = ImageClassifier(model_source.from_run(Run(template)))
    for classifier in (run, open_file(tflite_file)):
        whole = answers(classifier, files)
        with monkeypatch.context() as patch:
            patch.setattr(image_classifier, "CHUNK_BYTES", 3 * 32 * 32 * 3)
            parts = answers(classifier, files)
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_a_bad_file_has_a_reason_and_the_others_are_answered(
    tflite_file, files, tmp_path
):
    (tmp_path / "empty.png").touch()
    content = files[0].read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    bad = [tmp_path / name for name in ("empty.png", "cut.png", "none.png", ".")]
    found = answers(open_file(tflite_file), [bad[0], files[0], *bad[1:], files[1]])
    assert [one.problem == "" for one in found] == [False, True, *[False] * 3, True]
    assert "empty" in found[0].problem and "damaged" in found[2].problem
    assert "No such file" in found[3].problem
    assert all(one.probabilities is None for one in found if one.problem)


def test_few_files_are_held_whatever_their_number(tflite_file, files):
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield ImagePath(str(files[asked % len(files)]))

    chunks = open_file(tflite_file).predict_files(endless())
    done = sum(len(next(chunks)) for _ in range(3))
    assert 0 < asked - done <= image_classifier._WINDOW
    before = threading.active_count()
    chunks.close()
    assert threading.active_count() <= before


def test_what_came_is_answered_when_no_more_comes(tflite_file, files):
    paths = [ImagePath(str(files[0])), None, ImagePath(str(files[1]))]
    chunks = open_file(tflite_file).predict_files(iter(paths))
    assert [len(chunk) for chunk in chunks] == [1, 1]


def record(run, fields) -> None:
    config = json.loads((run / "config.json").read_text())
    config["data"]["preprocessing"] = fields
    (run / "config.json").write_text(json.dumps(config))


def test_images_are_resized_as_the_run_recorded_unless_told_otherwise(run, files):
    source = model_source.from_run(Run(run))
    assert ImageClassifier(source).spec.resize is Resize.CROP
    for damaged in ([], {}, {"resize": 3}, {"resize": "other"}):
        record(run, damaged)
        assert ImageClassifier(source).spec.resize is Resize.CROP
    spec = PixelSpec(32, 32, 3, Resize.LETTERBOX)
    record(run, spec.to_json())
    classifier = ImageClassifier(source)
    assert classifier.spec == spec
    (found,) = answers(classifier, [files[1]])
    np.testing.assert_array_equal(found.pixels, decode(files[1], spec))
    assert ImageClassifier(source, Resize.SQUASH).spec.resize is Resize.SQUASH


def test_the_temperature_of_a_run_is_applied(data_dir, tmp_path, files):
    run = eval_models.make_run(tmp_path / "run", data_dir)
    plain = ImageClassifier(model_source.from_run(run))
    assert not plain.calibrated
    sha256 = run.result()["weights_sha256"]
    saved = {"version": 2, "temperature": 2.0, "weights_sha256": sha256}
    run.write(calibration.FILE, saved | {"why": "", "rows": 100})
    softened = ImageClassifier(model_source.from_run(run))
    assert softened.calibrated and softened.temperature == 2.0
    pairs = zip(answers(plain, files), answers(softened, files), strict=True)
    for one, other in pairs:
        expected = calibration.apply_temperature(one.probabilities[None], 2.0)
        np.testing.assert_allclose(other.probabilities[None], expected, rtol=1e-12)


def test_a_model_of_any_size_must_be_told_one(tmp_path, files):
    class Means(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
        def call(self, images):
            return {"logits": tf.reduce_mean(images, (1, 2))}

    module, path = Means(), tmp_path / "any"
    tf.saved_model.save(module, str(path), {"serving_default": module.call})
    with pytest.raises(InvalidInput, match="`image_size`"):
        open_file(path)
    classifier = open_file(path, None, (20, 30))
    (found,) = answers(classifier, files[:1])
    assert found.pixels.shape == (20, 30, 3)
    assert classifier.names == ("0", "1", "2")


def test_another_size_than_the_model_takes_is_refused(tflite_file, template):
    with pytest.raises(InvalidInput, match="32x32 only"):
        open_file(tflite_file, None, (32, 64))
    with pytest.raises(InvalidInput, match="32x32 only"):
        ImageClassifier(model_source.from_run(Run(template)), None, (16, 32))


def test_a_model_of_other_channels_answers_no_files(tmp_path, files):
    path = eval_models.tflite(tmp_path / "four.tflite", shape=(1, 8, 8, 4))
    with pytest.raises(InvalidInput, match="1 channel or 3"):
        answers(open_file(path), files)
