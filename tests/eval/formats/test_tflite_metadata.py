"""What export writes about a file's input, eval reads; damage never stops it."""

import numpy as np
import pytest

from eval.formats import tflite_metadata
from eval.formats.input_normalization import InputNormalization
from eval.predictors import model_files
from eval.predictors.file_options import FileOptions
from eval.predictors.outputs import Output
from export.lite import metadata_writer
from tests.support import eval_models

LABELS = [str(n) for n in range(10)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("metadata") / "plain.tflite"
    return eval_models.tflite(path).read_bytes()


def described(plain: bytes, mean: float, std: float) -> bytes:
    said = metadata_writer.ModelDescription("n", "t", (32, 32, 3), mean, std)
    return metadata_writer.add_metadata(plain, said, LABELS)


def test_a_plain_file_says_nothing(plain):
    assert tflite_metadata.parse_normalization(plain) is None


@pytest.mark.parametrize(("mean", "std"), [(128.0, 128.0), (0.0, 255.0)])
def test_mean_and_deviation_are_read(plain, mean, std):
    found = tflite_metadata.parse_normalization(described(plain, mean, std))
    assert found == InputNormalization(mean=[mean], std=[std])


def test_a_float_input_gets_what_its_metadata_says(plain, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    answers = {}
    for name, content in (("plain", plain), ("said", described(plain, 0.0, 0.5))):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        answers[name] = np.log(
            model_files.open_file(path, FileOptions(Output.LOGITS))(images)
        )
    # Pixels of twice the size give logits of twice the distance.
    first, second = (a - a.max(axis=1, keepdims=True) for a in answers.values())
    np.testing.assert_allclose(second, 2 * first, atol=1e-4)


def test_damaged_metadata_is_no_metadata(plain):
    whole = described(plain, 128.0, 128.0)
    start = whole.find(b"M001")
    rng = np.random.default_rng(0)
    for _ in range(100):
        broken = bytearray(whole)
        broken[start + rng.integers(4, 200)] = rng.integers(0, 256)
        found = tflite_metadata.parse_normalization(bytes(broken))
        assert found is None or isinstance(found, InputNormalization)
