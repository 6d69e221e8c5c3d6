"""The library: a script's training is exact, needs no script afterwards, and stops."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

import trainer
from tests.support.commands import ROOT, TINY, result, run_command
from tests.support.flag_values import read
from tests.support.image_folders import write_classes
from trainer.config.schema import OptimConfig
from trainer.errors import InvalidInput

NAMES = ("square", "round", "long")
GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 3, 400)
NOISE = GENERATOR.normal(0, 40, (400, 12, 12, 3))
IMAGES = (NOISE + 60 + 40 * LABELS[:, None, None, None]).clip(0, 255).astype(np.uint8)
CONFIG = trainer.Config(
    epochs=4, global_batch=16, optim=OptimConfig(learning_rate=0.02)
)


def network(x, num_classes, *, width=8):
    x = trainer.layers.BatchNorm()(keras.layers.Conv2D(width, 3)(x))
    x = trainer.layers.Dropout(0.1, name="drop")(keras.layers.GlobalMaxPooling2D()(x))
    return keras.layers.Dense(num_classes)(x)


@pytest.fixture(scope="module")
def data():
    train, test = (IMAGES[:300], LABELS[:300]), (IMAGES[300:], LABELS[300:])
    return trainer.data.from_arrays(train=train, test=test, names=NAMES)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    return trainer.train(CONFIG, data, model=network, run_dir=folder / "run")


def test_a_result_has_every_key_of_result_json(trained):
    written = json.loads((trained.run_dir / "result.json").read_text())
    assert {**written, "run_dir": trained.run_dir} == vars(trained)
    low, high = trained.test_accuracy_interval
    assert 0.4 < low < trained.test_accuracy < high


def test_the_second_training_of_a_process_has_the_bits_of_the_first(
    data, trained, tmp_path
):
    steps = []
    again = trainer.train(
        CONFIG,
        data,
        model=network,
        run_dir=tmp_path / "run",
        callbacks=[lambda state, output: steps.append(state.step)],
    )
    assert again.weights_sha256 == trained.weights_sha256
    assert again.rows_sha256 == trained.rows_sha256
    assert steps[-1] == again.steps


def test_a_finished_run_is_not_trained_again(data, trained):
    again = trainer.train(CONFIG, data, model=network, run_dir=trained.run_dir)
    assert vars(again) == vars(trained)


@pytest.mark.parametrize(
    "asked",
    [
        {"image_size": (24, 24)},
        {"channels": 1},
        {"resize": trainer.Resize.SQUASH},
        {"test_fraction": 0.2},
    ],
)
def test_arrays_are_not_said_to_be_resized_or_split(data, tmp_path, asked):
    (name,) = asked
    config = dataclasses.replace(CONFIG, data=trainer.DataConfig(**asked))
    with pytest.raises(InvalidInput, match=f"`data` has {name}=.* asks for {name}="):
        trainer.train(config, data, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_that_data_agrees_with_are_no_contradiction(data, tmp_path):
    data.check_options(trainer.DataConfig(image_size=(12, 12), channels=3))
    for name in ("a", "b"):
        write_classes(tmp_path / name, {name: 12}, size=(20, 30))
        shutil.move(tmp_path / name / name, tmp_path / "photos" / name)
    options = {"resize": trainer.Resize.SQUASH, "test_fraction": 0.25}
    where = {"image_size": (16, 16), "data_dir": str(tmp_path / "data")}
    files = trainer.data.from_files(tmp_path / "photos", **options, **where)
    files.check_options(trainer.DataConfig(**options))
    with pytest.raises(InvalidInput, match="test_fraction"):
        files.check_options(trainer.DataConfig(resize=trainer.Resize.SQUASH))


def test_ctrl_c_stops_after_a_checkpoint_and_the_same_call_resumes(
    data, trained, tmp_path
):
    before = signal.getsignal(signal.SIGINT)

    def interrupt(state, _output) -> None:
        if state.step >= 5:
            os.kill(os.getpid(), signal.SIGINT)

    words = {"model": network, "run_dir": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt, match="saved"):
        trainer.train(CONFIG, data, **words, callbacks=[interrupt])
    assert signal.getsignal(signal.SIGINT) is before
    resumed = trainer.train(CONFIG, data, **words)
    assert resumed.weights_sha256 == trained.weights_sha256


def test_another_process_needs_neither_script_nor_data(trained, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES[300:])
    program = f"""
        import numpy as np, trainer
        model = trainer.load({str(trained.run_dir)!r})
        found = model.predict(np.load("images.npy"))
        np.save("found.npy", found)
        print(model.names)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(NAMES) in done.stdout
    found = np.load(tmp_path / "found.npy")
    assert found.dtype == np.float32 and found.shape == (100, 3)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    right = (found.argmax(1) == LABELS[300:]).mean()
    assert right == pytest.approx(trained.test_accuracy)
    np.testing.assert_array_equal(
        found, trainer.load(trained.run_dir).predict(IMAGES[300:])
    )


def test_another_network_or_config_is_refused_in_a_run(data, trained):
    def other(x, num_classes):
        return network(x, num_classes, width=4)

    with pytest.raises(InvalidInput, match="another config"):
        trainer.train(CONFIG, data, model=other, run_dir=trained.run_dir)
    longer = dataclasses.replace(CONFIG, epochs=3)
    with pytest.raises(InvalidInput, match="epochs"):
        trainer.train(longer, data, model=network, run_dir=trained.run_dir)


def test_a_config_names_a_file_as_the_command_does(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = trainer.ModelConfig(name="my_net.py:network")
    config = dataclasses.replace(CONFIG, model=named)
    with pytest.raises(InvalidInput, match="my_net.py cannot be read: No such file"):
        trainer.train(config, data, run_dir=tmp_path / "run")
    (tmp_path / "my_net.py").write_text("def network(x, num_classes):\n    raise 3\n")
    with pytest.raises(InvalidInput, match="cannot be built: TypeError(?s:.*)line 2"):
        trainer.train(config, data, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["eval.report", "export.tflite", "export.bench"])
def test_a_command_says_that_the_arrays_are_not_in_the_run(trained, command):
    done = run_command(command, f"--run_dir={trained.run_dir}")
    assert done.returncode == 2
    assert "trained on arrays of a script, which are not in the run" in done.stderr


def test_a_run_of_arrays_is_evaluated_and_exported_with_them(data, trained):
    run = trained.run_dir
    report = trainer.evaluate(run, data)
    assert report.scores["accuracy"] == trained.test_accuracy
    assert report.data["same_as_trained"] and report.remarks == []
    made = trainer.export_tflite(run, data, quantize=True)
    assert made.path == run / "export" / "model_int8.tflite"
    assert made.manifest["test"]["images"] == 100
    assert made.manifest["data_sha256"] == trained.data_sha256
    assert made.manifest["labels"] == list(NAMES)
    assert trainer.export_saved_model(run, data).manifest["test"]["flips"] == 0
    again = trainer.evaluate(made.path, data)
    assert again.scores["correct"] == made.manifest["test"]["correct"]


def test_other_arrays_are_named_and_set_no_ranges(data, trained, tmp_path):
    run = shutil.copytree(trained.run_dir, tmp_path / "run")
    swapped = dataclasses.replace(data, train=data.test, test=data.train)
    report = trainer.evaluate(run, swapped)
    assert not report.data["same_as_trained"]
    assert "is not the test split" in report.remarks[0]
    with pytest.raises(
        InvalidInput, match="(?s)images of arrays are not the run's own.*`data`"
    ):
        trainer.export_tflite(run, swapped, quantize=True)


@pytest.mark.parametrize("content", [None, b"{}", b"\xff", b"x" * (2**24 + 1)])
def test_a_damaged_model_json_is_refused_by_name(trained, tmp_path, content):
    copy = pathlib.Path(shutil.copytree(trained.run_dir, tmp_path / "copy"))
    path = copy / "model.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"config\.json cannot be read"):
        trainer.load(copy)


def test_a_model_json_that_is_a_pipe_makes_nobody_wait(trained, tmp_path):
    copy = pathlib.Path(shutil.copytree(trained.run_dir, tmp_path / "copy"))
    (copy / "model.json").unlink()
    os.mkfifo(copy / "model.json")
    with pytest.raises(InvalidInput, match="not a regular file"):
        trainer.load(copy)


KEPT = {
    "SpectralNormalization": lambda x: keras.layers.SpectralNormalization(
        keras.layers.Conv2D(3, 1)
    )(x),
    "BatchNormalization": lambda x: keras.layers.BatchNormalization(axis=1)(x),
    "RandomFlip": lambda x: keras.layers.RandomFlip()(x),
    "Lambda": lambda x: keras.layers.Lambda(lambda t: t * 2)(x),
}


@pytest.mark.parametrize("kind", KEPT)
def test_a_layer_that_keeps_state_or_cannot_be_kept_is_refused(data, tmp_path, kind):
    def unfit(x, num_classes):
        return network(KEPT[kind](x), num_classes)

    with pytest.raises(InvalidInput, match=kind):
        trainer.train(CONFIG, data, model=unfit, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


BAD = {
    "images must be uint8": {"train": (IMAGES / 255, LABELS)},
    "integers": {"train": (IMAGES, LABELS / 1)},
    "one per image": {"train": (IMAGES, LABELS[:5])},
    "within 0 to 1": {"train": (IMAGES, LABELS), "names": ["a", "b"]},
    "different": {"train": (IMAGES, LABELS), "names": ["a", "a", "b"]},
    "one shape": {"train": (IMAGES, LABELS), "test": (IMAGES[:, :5], LABELS)},
    "empty": {"train": (IMAGES[:0], LABELS[:0])},
    "two arrays": {"train": 3},
}


@pytest.mark.parametrize("said", BAD)
def test_arrays_of_another_kind_are_refused(said):
    with pytest.raises(ValueError, match=said):
        trainer.data.from_arrays(**BAD[said])


def test_a_test_split_is_set_apart_by_content():
    images = np.concatenate([IMAGES, IMAGES[:40]])
    labels = np.concatenate([LABELS, LABELS[:40]])
    splits = trainer.data.from_arrays(train=(images, labels))
    kept = {image.tobytes() for image in splits.train.images}
    assert not kept & {image.tobytes() for image in splits.test.images}
    assert len(splits.test.labels) == pytest.approx(44, abs=6)
    again = trainer.data.from_arrays(train=(images, labels))
    assert again.test.sha256 == splits.test.sha256


def test_given_validation_rows_are_held_out():
    validation = (IMAGES[300:], LABELS[300:])
    splits = trainer.data.from_arrays(
        (IMAGES[:300], LABELS[:300]), validation, validation
    )
    held = splits.hold_out(0.1)
    np.testing.assert_array_equal(held.train.images[held.held_out], IMAGES[300:])
    assert len(held.learnt) == 300


def test_the_command_and_the_library_give_the_same_bits(data_dir, tiny_run, tmp_path):
    config, run_config = read(*TINY)
    digits = trainer.data.from_tfds("digits", str(data_dir))
    ours = trainer.train(
        config, digits, run_config=run_config, run_dir=tmp_path / "library"
    )
    theirs = result(tiny_run.path)
    assert ours.weights_sha256 == theirs["weights_sha256"]
    assert ours.test_accuracy == theirs["test_accuracy"]


def test_arrays_that_are_no_data_set_are_refused(trained, tmp_path):
    arrays, new = (IMAGES, LABELS), tmp_path / "run"
    for use in (
        lambda: trainer.train(CONFIG, arrays, run_dir=new),
        lambda: trainer.evaluate(trained.run_dir, data=arrays),
        lambda: trainer.export_tflite(trained.run_dir, data=arrays),
    ):
        with pytest.raises(InvalidInput, match="`data` must be from .*, got tuple"):
            use()
    assert not new.exists()
