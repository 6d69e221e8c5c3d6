"""Any model file answers here exactly as it does on its own."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert

from eval.formats.input_normalization import InputRange
from eval.predictors import model_files
from eval.predictors.file_options import FileOptions
from eval.predictors.outputs import Output
from trainer.errors import InvalidInput

SHAPE, CLASSES = (8, 8, 3), 4
IMAGES = np.random.default_rng(0).integers(0, 256, (150, *SHAPE), dtype=np.uint8)
IMAGES[0, 0, 0] = (0, 255, 128)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    images = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 128, offset=-1)(images)
    x = keras.layers.Conv2D(6, 3, activation="relu")(x)
    x = keras.layers.Dense(CLASSES)(keras.layers.Flatten()(x))
    return keras.Model(images, keras.layers.Softmax()(x))


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("saved") / "model"
    network.export(str(path), verbose=False)
    return path


def convert(path: pathlib.Path, saved: pathlib.Path, io: type | None, wide=False):
    """A .tflite of the SavedModel: float32, or quantised with `io` at its ends."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    if io is not None:
        ops = tf.lite.OpsSet
        mixed = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [row[None].astype(np.float32)] for row in IMAGES[:20]
        )
        converter.target_spec.supported_ops = [
            mixed if wide else ops.TFLITE_BUILTINS_INT8
        ]
        converter.inference_input_type = converter.inference_output_type = io
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="module")
def files(saved, tmp_path_factory) -> dict[str, pathlib.Path]:
    root = tmp_path_factory.mktemp("tflite")
    kinds = {
        "float32": (None, False),
        "uint8": (tf.uint8, False),
        "int8": (tf.int8, False),
        "int16": (tf.int16, True),
    }
    return {
        name: convert(root / f"{name}.tflite", saved, io, wide)
        for name, (io, wide) in kinds.items()
    }


def bare(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
    """What an interpreter run by hand gives, as the file's own numbers."""
    own = litert.Interpreter(str(path))
    own.allocate_tensors()
    (source,), (sink,) = own.get_input_details(), own.get_output_details()
    rows = []
    for image in images:
        match source["dtype"]:
            case np.float32:
                taken = image.astype(np.float32)
            case np.uint8:
                taken = image
            case np.int8:
                taken = (image.astype(int) - 128).astype(np.int8)
            case np.int16:
                taken = np.rint(image / source["quantization"][0]).astype(np.int16)
        own.set_tensor(source["index"], taken[None])
        own.invoke()
        rows.append(own.get_tensor(sink["index"])[0])
    scale, zero_point = sink["quantization"]
    raw = np.stack(rows).astype(np.float64)
    return scale * (raw - zero_point) if scale else raw


@pytest.mark.parametrize("kind", ["float32", "uint8", "int8", "int16"])
def test_a_tflite_answers_as_a_bare_interpreter(files, kind):
    predictor = model_files.open_file(files[kind], FileOptions(Output.AUTO))
    predictor.check_fits(SHAPE, CLASSES)
    np.testing.assert_array_equal(predictor(IMAGES), bare(files[kind], IMAGES))
    assert predictor.output is Output.PROBABILITIES


@pytest.mark.parametrize("kind", ["float32", "uint8", "int8", "int16"])
def test_quantised_answers_are_near_the_networks(files, kind, network):
    ours = model_files.open_file(files[kind], FileOptions(Output.AUTO))(IMAGES)
    theirs = network(IMAGES.astype("float32")).numpy()
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.97


def test_a_quantised_floor_is_half_a_step(files):
    predictor = model_files.open_file(files["int8"], FileOptions(Output.PROBABILITIES))
    assert predictor.min_probability == 1 / 512


def test_a_saved_model_answers_as_the_network(saved, network):
    predictor = model_files.open_file(saved, FileOptions(Output.AUTO))
    predictor.check_fits(SHAPE, CLASSES)
    ours = predictor(IMAGES)
    np.testing.assert_allclose(ours, network(IMAGES.astype("float32")), atol=1e-6)
    assert len(ours) == 150


def test_every_image_is_ticked_once(files, saved):
    for path in (files["float32"], saved):
        seen = []
        model_files.open_file(path, FileOptions(Output.AUTO))(IMAGES, seen.append)
        assert sum(seen) == len(IMAGES)


class Linear(tf.Module):
    """Logits: the mean of each quarter of the image, times 10."""

    def __init__(self, shape, dtype=tf.float32):
        super().__init__()
        self.call = tf.function(self.quarters, [tf.TensorSpec(shape, dtype, "x")])

    def quarters(self, x):
        x = tf.cast(x, tf.float32)
        return {"logits": 10 * tf.reduce_mean(tf.reshape(x, (-1, 4, 48)), 2)}


def quarters(images: np.ndarray) -> np.ndarray:
    logits = 10 * images.reshape(-1, 4, 48).astype(np.float64).mean(axis=2)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(4, *SHAPE), SHAPE, (1, *SHAPE)])
def test_any_batch_dimension_will_do(shape, tmp_path):
    module = Linear(shape)
    concrete = module.call.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    path = tmp_path / "fixed.tflite"
    path.write_bytes(converter.convert())
    ours = model_files.open_file(path, FileOptions(Output.AUTO, InputRange.UNIT))
    ours.check_fits(SHAPE, CLASSES)
    np.testing.assert_allclose(ours(IMAGES), quarters(IMAGES / 255), atol=1e-5)
    assert ours.output is Output.LOGITS


@pytest.mark.parametrize("shape", [(64, *SHAPE), (None, *SHAPE), (None,) * 4])
def test_a_saved_model_of_bytes_and_any_shape(shape, tmp_path):
    module = Linear(shape, tf.uint8)
    path = tmp_path / "bytes"
    signature = {"pictures": module.call.get_concrete_function()}
    tf.saved_model.save(module, str(path), signature)
    ours = model_files.open_file(path, FileOptions(Output.LOGITS))
    ours.check_fits(SHAPE, CLASSES)
    np.testing.assert_allclose(ours(IMAGES), quarters(IMAGES), atol=1e-3)


def test_another_shape_or_class_count_is_refused(files, saved):
    for path in (files["int8"], saved):
        predictor = model_files.open_file(path, FileOptions(Output.AUTO))
        with pytest.raises(InvalidInput, match="8 x 8 x 3 and knows 4 classes"):
            predictor.check_fits(SHAPE, 10)
        with pytest.raises(InvalidInput, match="32 x 32 x 3"):
            predictor.check_fits((32, 32, 3), CLASSES)


def damaged(root: pathlib.Path, whole: bytes) -> dict[str, bytes]:
    """Broken .tflite files by what is wrong with them."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, 2000, dtype=np.uint8).tobytes()
    return {
        "empty": b"",
        "short": whole[:8],
        "half": whole[: len(whole) // 2],
        "noise": noise,
        "text": b"not a model\n" * 100,
        "magic": b"\x1c\0\0\0TFL3" + noise,
    }


@pytest.mark.parametrize("what", ["empty", "short", "half", "noise", "text", "magic"])
def test_a_damaged_tflite_is_wrong_usage(what, files, tmp_path):
    path = tmp_path / "broken.tflite"
    path.write_bytes(damaged(tmp_path, files["int8"].read_bytes())[what])
    with pytest.raises(InvalidInput, match="is damaged or no .tflite"):
        model_files.open_file(path, FileOptions(Output.AUTO))


def test_what_is_no_model_is_wrong_usage(tmp_path, saved):
    (tmp_path / "model.h5").write_bytes(b"x")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "saved_model.pb").write_bytes(b"no protobuf")
    for path in (tmp_path / "none.tflite", tmp_path, tmp_path / "model.h5", bad):
        with pytest.raises(InvalidInput):
            model_files.open_file(path, FileOptions(Output.AUTO))


def test_a_saved_model_without_a_signature_is_wrong_usage(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(InvalidInput, match="none at all"):
        model_files.open_file(tmp_path / "bare", FileOptions(Output.AUTO))
