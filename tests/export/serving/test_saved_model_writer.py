"""A SavedModel that needs TensorFlow alone and answers as the checkpoint does."""

import io
import json
import os
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from export.artifact import artifact
from export.examples import next_step
from export.serving import image_decoding, saved_model_writer, warmup
from tests.support import export_runs, program_facts, serving_rest
from trainer.data.preprocessing import PixelSpec

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
    return saved_model_writer.write_saved_model(export_runs.opened())


@pytest.fixture(scope="module")
def signatures(made):
    loaded = tf.saved_model.load(str(made.path))
    yield loaded.signatures


def test_tensorflow_alone_gets_the_manifests_accuracy(made, tmp_path):
    shown = export_runs.opened().verification_set
    names = [shown.names[label] for label in shown.labels]
    np.savez(tmp_path / "data.npz", images=shown.images, names=names)
    words = [sys.executable, "-c", STRANGER, made.path, tmp_path / "data.npz"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == made.manifest["test"]["correct"]


def test_no_answer_differs_from_the_checkpoint(made):
    assert made.manifest["test"]["flips"] == 0
    assert made.manifest["test"]["largest_difference"] <= 1e-5
    assert artifact.load_artifact(made.path).manifest == made.manifest


@pytest.fixture(scope="module")
def server(signatures):
    """The SavedModel behind the REST interface of TensorFlow Serving."""

    def serve(name, kind):
        def answer(rows):
            (given,) = signatures[name].structured_input_signature[1]
            found = signatures[name](**{given: tf.constant(rows, kind)})
            listed = {key: value.numpy().tolist() for key, value in found.items()}
            return listed | {"label": [label.decode() for label in listed["label"]]}

        return answer

    served = {
        "serving_default": serve("serving_default", tf.uint8),
        "serve_encoded": serve("serve_encoded", tf.string),
    }
    with serving_rest.served("cnn", served) as address:
        yield address


def ask(made, address: str, *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"SERVING": address, "no_proxy": "127.0.0.1"}
    words = [words[0], made.path / "examples" / words[1], *words[2:]]
    return subprocess.run(words, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_gets_the_class_of_a_file_and_of_the_request(made, server, tmp_path):
    shown = export_runs.opened().verification_set
    reply = json.loads(ask(made, server, "sh", "classify.sh").stdout)
    first = reply["predictions"][0]
    assert first["class_id"] == int(shown.reference[0].argmax())
    assert first["label"] == shown.names[first["class_id"]]
    path = tmp_path / "a picture's.png"
    path.write_bytes(coded(shown.images[0], (32, 32), "PNG"))
    again = json.loads(ask(made, server, "sh", "classify.sh", str(path)).stdout)
    assert again == reply
    assert ask(made, server, "sh", "classify.sh", f"{path}.none").returncode == 2
    path.write_text("no picture")
    refused = ask(made, server, "sh", "classify.sh", str(path))
    assert refused.returncode == 22 and "error" in json.loads(refused.stdout)
    assert ask(made, "127.0.0.1:9", "sh", "classify.sh").returncode == 7


def test_pythons_standard_library_asks_for_the_class_in_the_words_of_predict(
    made, server, tmp_path
):
    shown = export_runs.opened().verification_set
    (tmp_path / "a.png").write_bytes(coded(shown.images[1], (32, 32), "PNG"))
    names = [str(tmp_path / "a.png"), str(tmp_path / "none.png")]
    done = ask(made, server, sys.executable, "classify_rest.py", *names)
    words = program_facts.in_words(made.manifest, shown.reference[1])
    assert done.stdout == f"{names[0]}  {words}\n"
    assert done.returncode == 1 and done.stderr.startswith(f"{names[1]}: ")


def test_the_programs_belong_to_the_version(made):
    noted = {n for n in made.manifest["files"] if n.startswith("examples/")}
    names = ("classify.sh", "classify_rest.py", "request.json")
    assert noted == {f"examples/{name}" for name in names}
    command = next_step.describe(made).removeprefix("next: ")
    assert shlex.split(command)[1] == str(made.path / "examples" / "classify.sh")


def coded(image: np.ndarray, size: tuple[int, int], kind: str) -> bytes:
    buffer = io.BytesIO()
    resized = Image.fromarray(image).resize(size, Image.Resampling.NEAREST)
    resized.save(buffer, kind, quality=100)
    return buffer.getvalue()


def test_encoded_images_of_the_right_size_are_taken_as_they_are(signatures):
    images = export_runs.opened().verification_set.images[:20]
    files = [coded(image, (32, 32), "PNG") for image in images]
    ours = signatures["serve_encoded"](encoded=tf.constant(files))
    theirs = signatures["serving_default"](images=tf.constant(images))
    np.testing.assert_array_equal(ours["probabilities"], theirs["probabilities"])
    np.testing.assert_array_equal(ours["label"], theirs["label"])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_encoded_images_of_any_size_are_resized(signatures, kind):
    images = export_runs.opened().verification_set.images[:60]
    sizes = [(64, 64), (96, 96), (200, 200)]  # by --resize=crop others lose their edges
    files = [coded(image, sizes[n % 3], kind) for n, image in enumerate(images)]
    ours = signatures["serve_encoded"](encoded=tf.constant(files))
    theirs = signatures["serving_default"](images=tf.constant(images))
    assert np.mean(ours["class_id"].numpy() == theirs["class_id"].numpy()) > 0.9


NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def turned(kind: str, number: int | None, endian: str = "<") -> bytes:
    """NOISE as a file whose EXIF says orientation `number`, among other things."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif.endian = endian
    exif[0x010F] = "the maker of a camera"
    if number is not None:
        exif[0x0112] = number
    Image.fromarray(NOISE).save(buffer, kind, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_files_are_decoded_and_turned_as_pillow_does(kind):
    for number in (None, *range(10)):
        for endian in "<>":
            file = turned(kind, number, endian)
            upright = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
            shape = (upright.height, upright.width, 3)
            spec = PixelSpec(*shape)
            (ours,) = image_decoding.decode_images(tf.constant([file]), spec).numpy()
            np.testing.assert_array_equal(ours, np.asarray(upright), f"{number}")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_damaged_orientation_is_no_error(kind):
    file, rng = turned(kind, 6), np.random.default_rng(0)
    spec = [tf.TensorSpec([], tf.string)]
    read = tf.function(image_decoding.exif_orientation, spec, autograph=False)
    for cut in range(0, len(file), 97):
        assert 1 <= read(file[:cut]).numpy() <= 8
    for _ in range(200):
        damaged = bytearray(file)
        for place in rng.integers(0, 150, 4):
            damaged[place] = rng.integers(256)
        assert 1 <= read(bytes(damaged)).numpy() <= 8


def test_no_file_keeps_the_search_for_an_orientation_busy():
    """A PNG of chunks without content, and a JPEG of nothing but filling bytes."""
    spec = [tf.TensorSpec([], tf.string)]
    read = tf.function(image_decoding.exif_orientation, spec, autograph=False)
    chunk = b"\0\0\0\0aaaa\0\0\0\0"
    for file in (b"\x89PNG\r\n\x1a\n" + 10**5 * chunk, b"\xff\xd8" + b"\xff" * 10**6):
        assert read(file).numpy() == 1


def test_an_empty_batch_gets_an_empty_answer(signatures):
    empty = {
        "serving_default": {"images": tf.zeros((0, 32, 32, 3), tf.uint8)},
        "serve_encoded": {"encoded": tf.constant([], tf.string)},
    }
    for name, inputs in empty.items():
        answer = signatures[name](**inputs)
        assert answer["probabilities"].shape == (0, 10)
        assert answer["class_id"].shape == answer["label"].shape == (0,)


def test_warm_up_holds_one_request_a_signature(made):
    records = list(tf.data.TFRecordDataset(str(made.path / warmup.REQUESTS_FILE)))
    assert len(records) == 2
    for record, name in zip(records, ("serving_default", "serve_encoded"), strict=True):
        assert name.encode() in record.numpy()


@pytest.mark.parametrize("size", [1, 127, 128, 20_000])
def test_lengths_are_coded_as_protobuf_codes_them(size):
    coded = warmup._field(1, b"x" * size)
    parsed = tf.train.BytesList.FromString(coded)  # its field 1 is bytes as well
    assert parsed.value == [b"x" * size]


def test_a_second_export_takes_the_next_number(made):
    again = saved_model_writer.write_saved_model(export_runs.opened())
    assert int(again.path.name) == int(made.path.name) + 1
    assert artifact.load_artifact(made.path) is not None
