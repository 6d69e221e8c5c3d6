"""A SavedModel that needs TensorFlow alone and answers as the checkpoint does."""

import io
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export import artifact, saved_model, warmup
from tests import export_kit

# A stranger's program: TensorFlow and a folder.
STRANGER = """
import sys
sys.modules["keras"] = None  # importing it fails
import numpy as np
import tensorflow as tf
folder, data = sys.argv[1:]
split = np.load(data)
loaded = tf.saved_model.load(folder)
answer = loaded.signatures["serving_default"](images=tf.constant(split["images"]))
assert answer["class_id"].dtype == tf.int64
print(int((answer["label"].numpy().astype(str) == split["names"]).sum()))
assert not {"trainer", "eval", "export"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def made() -> artifact.Artifact:
    return saved_model.export(export_kit.opened())


@pytest.fixture(scope="module")
def signatures(made):
    loaded = tf.saved_model.load(str(made.path))
    yield loaded.signatures


def test_tensorflow_alone_gets_the_manifests_accuracy(made, tmp_path):
    exam = export_kit.opened().exam
    names = [exam.names[label] for label in exam.labels]
    np.savez(tmp_path / "data.npz", images=exam.images, names=names)
    words = [sys.executable, "-c", STRANGER, made.path, tmp_path / "data.npz"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == made.manifest["test"]["correct"]


def test_no_answer_differs_from_the_checkpoint(made):
    assert made.manifest["test"]["flips"] == 0
    assert made.manifest["test"]["largest_difference"] <= 1e-5
    assert artifact.read(made.path).manifest == made.manifest


def encoded(image: np.ndarray, size: tuple[int, int], kind: str) -> bytes:
    buffer = io.BytesIO()
    resized = Image.fromarray(image).resize(size, Image.Resampling.NEAREST)
    resized.save(buffer, kind, quality=100)
    return buffer.getvalue()


def test_encoded_images_of_the_right_size_are_taken_as_they_are(signatures):
    images = export_kit.opened().exam.images[:20]
    files = [encoded(image, (32, 32), "PNG") for image in images]
    ours = signatures["serve_encoded"](encoded=tf.constant(files))
    theirs = signatures["serving_default"](images=tf.constant(images))
    np.testing.assert_array_equal(ours["probabilities"], theirs["probabilities"])
    np.testing.assert_array_equal(ours["label"], theirs["label"])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_encoded_images_of_any_size_are_resized(signatures, kind):
    images = export_kit.opened().exam.images[:60]
    sizes = [(64, 64), (96, 128), (33, 200)]
    files = [encoded(image, sizes[n % 3], kind) for n, image in enumerate(images)]
    ours = signatures["serve_encoded"](encoded=tf.constant(files))
    theirs = signatures["serving_default"](images=tf.constant(images))
    assert np.mean(ours["class_id"].numpy() == theirs["class_id"].numpy()) > 0.9


def test_warm_up_holds_one_request_a_signature(made):
    records = list(tf.data.TFRecordDataset(str(made.path / warmup.FILE)))
    assert len(records) == 2
    for record, name in zip(records, ("serving_default", "serve_encoded"), strict=True):
        assert name.encode() in record.numpy()


@pytest.mark.parametrize("size", [1, 127, 128, 20_000])
def test_lengths_are_coded_as_protobuf_codes_them(size):
    coded = warmup._field(1, b"x" * size)
    parsed = tf.train.BytesList.FromString(coded)  # its field 1 is bytes as well
    assert parsed.value == [b"x" * size]


def test_a_second_export_takes_the_next_number(made):
    again = saved_model.export(export_kit.opened())
    assert int(again.path.name) == int(made.path.name) + 1
    assert artifact.read(made.path) is not None
