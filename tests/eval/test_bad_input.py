"""Wrong input ends with code 2 (a failing model: 1), two lines, nothing written."""

import builtins
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from eval.metrics import calibration
from tests.support import eval_models, export_runs, forged_files
from trainer.errors import InvalidInput
from trainer.models import builder
from trainer.optim import optimizers
from trainer.rundir import checkpoints, finished
from trainer.rundir.layout import Run
from trainer.training import state

DEFECTS = {
    "config is no JSON": ("config.json", b"{"),
    "config is a list": ("config.json", b"[]"),
    "config has no fields": ("config.json", b"{}"),
    "config is of another version": ("config.json", b'{"config": {"data": 3}}'),
    "result is no JSON": ("result.json", b"finished"),
    "result is a list": ("result.json", b"[1]"),
    "result has odd steps": ("result.json", b'{"finished": true, "steps": "x"}'),
    "result names another step": ("result.json", b'{"finished": true, "steps": 9}'),
    "result is not finished": ("result.json", b'{"finished": false}'),
    "calibration is no JSON": (calibration.FILE, b"1.5"),
    "calibration is a list": (calibration.FILE, b"[]"),
    "calibration is of other weights": (
        calibration.FILE,
        b'{"temperature": 1.5, "rows": 9, "weights_sha256": "00"}',
    ),
    "weights are cut off": ("checkpoints/step-00000007/variables.npz", b"PK"),
    "manifest is empty": ("checkpoints/step-00000007/manifest.json", b""),
}

RUN_FLAGS = {
    "no such step": ["--checkpoint=3"],
    "negative step": ["--checkpoint=-1"],
    "step is a word": ["--checkpoint=last"],
    "step is huge": ["--checkpoint=99999999999999999999"],
    "output is for files": ["--output=logits"],
    "range is for files": ["--input_range=0:1"],
    "scaling is for files": ["--input_scaling=pixels"],
    "kernels are for files": ["--kernels=reference"],
    "unknown scaling": ["--input_scaling=both"],
    "unknown kernels": ["--kernels=neon"],
    "unknown output": ["--output=softmax"],
    "unknown range": ["--input_range=0:2"],
    "sample of nothing": ["--corruptions", "--corruption_sample=0"],
    "sample without corruptions": ["--corruption_sample=10"],
    "sample is a word": ["--corruptions", "--corruption_sample=some"],
    "no class data is empty": ["--no_class_data="],
    "no class data is not there": ["--no_class_data=/no/such/folder"],
    "no class data is unknown": ["--no_class_data=nosuchset"],
    "unknown flag": ["--corupptions"],
    "stray word": ["report"],
    "unknown split": ["--split=train"],
    "unknown data set": ["--dataset=nosuchset"],
    "empty data set": ["--dataset="],
    "empty data folder": ["--data_dir="],
    "empty folder": ["--out_dir="],
    "both a run and a file": ["--model=model.tflite"],
    "folder below a file": ["--out_dir=/etc/hostname/report"],
    "folder that cannot be": ["--out_dir=/proc/report"],
}


@pytest.fixture
def refused(monkeypatch, capfd, tmp_path):
    """Runs a command that must fail and leave `tmp_path` as it is."""

    def call(*words, name="report", code=2):
        before = eval_models.tree(tmp_path)
        ended = eval_models.command(monkeypatch, capfd, name, *words)
        assert ended.code == code, ended
        assert 1 <= len(ended.err) <= 2, ended.err
        assert "Traceback" not in "".join(ended.err)
        assert ended.out == ""
        after = eval_models.tree(tmp_path)
        assert before == {k: v for k, v in after.items() if k != "tiny/report"}
        return " ".join(ended.err)

    return call


@pytest.mark.parametrize("what", DEFECTS)
def test_a_damaged_run(what, run, refused):
    name, content = DEFECTS[what]
    (run / name).write_bytes(content)
    refused(f"--run_dir={run}")


@pytest.mark.parametrize("what", RUN_FLAGS)
def test_flags_that_cannot_be(what, run, refused):
    refused(f"--run_dir={run}", *RUN_FLAGS[what])


def test_no_run_at_all(refused, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("nothing", "file", "empty"):
        assert "no run in" in refused(f"--run_dir={tmp_path / name}")


def test_a_checkpoint_of_other_weights_than_the_result(run, refused):
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | {"weights_sha256": "00"}))
    refused(f"--run_dir={run}")


def edited(run: pathlib.Path) -> None:
    """18 of its weights are others, sealed again."""
    found = checkpoints.load(
        checkpoints.step_folder(run / "checkpoints", eval_models.STEP)
    )
    name = next(name for name, a in found.arrays.items() if a.size >= 18)
    array = found.arrays[name].copy()
    array.flat[:18] += 1
    forged_files.reseal(found.path, forged_files.packed(found.arrays | {name: array}))


def test_edited_weights_that_were_sealed_again(refused, run, tmp_path):
    edited(run)
    for name, words in {
        "report": [f"--run_dir={run}"],
        "compare": [str(run), str(run), f"--out_dir={tmp_path / 'out'}"],
    }.items():
        assert "says weights_sha256" in refused(*words, name=name)
    with pytest.raises(InvalidInput, match="says weights_sha256 .* holds"):
        export_runs.open_inputs(f"--run_dir={run}")
    own = Run(run).result()["weights_sha256"]
    with pytest.raises(InvalidInput, match="no good checkpoint with the weights"):
        finished.load_weights(Run(run), own, "teacher")


CONTRADICTIONS = {
    "no sums": {"sums": None},
    "other sums": {"sums": {"totals": ["0x0p+0"], "count": 1}},
    "infinite images": {"train_images": "many"},
    "no rows": {"rows_sha256": "ab"},
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_a_manifest_that_is_no_state(what, template):
    config, found = (
        Run(template).config(),
        checkpoints.load_latest(Run(template).checkpoints, skipped=print),
    )
    model = builder.build_model(config.model, image_shape=(32, 32, 3), num_classes=10)
    held = state.TrainState(
        model, optimizers.build_optimizer(config, model.trainable_variables)
    )
    with pytest.raises(ValueError, match="its manifest is not one of ours"):
        held.load(found.arrays, found.facts | CONTRADICTIONS[what])
    name = next(iter(found.arrays))
    with pytest.raises(ValueError, match=f"{name} is .'float64'"):
        held.load(found.arrays | {name: np.float64(found.arrays[name])}, found.facts)
    assert held.step == 0
    held.load(found.arrays, found.facts)
    assert held.step == eval_models.STEP


def two_inputs(path: pathlib.Path) -> pathlib.Path:
    """A .tflite that adds two images."""
    module = tf.Module()
    spec = tf.TensorSpec((1, 32, 32, 3), tf.float32)
    call = tf.function(lambda a, b: tf.reduce_mean(a + b, [1, 2]), [spec, spec])
    concrete = call.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    path.write_bytes(converter.convert())
    return path


def nan(x):
    return x * np.float32("nan")


FILES = {
    "missing.tflite": lambda path: path,
    "folder": lambda path: path.mkdir() or path,
    "model.keras": lambda path: path.write_bytes(b"PK") and path,
    "text.tflite": lambda path: path.write_bytes(b"model" * 99) and path,
    "empty.tflite": lambda path: path.write_bytes(b"") or path,
    "two_inputs.tflite": two_inputs,
    "classes.tflite": lambda path: eval_models.tflite(path, classes=7),
    "shape.tflite": lambda path: eval_models.tflite(path, shape=(1, 28, 28, 1)),
    "flat.tflite": lambda path: eval_models.tflite(path, shape=(1, 3072)),
    "classes": lambda path: eval_models.saved_model(path, classes=7),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_evaluated(name, refused, tmp_path, data_dir):
    path = FILES[name](tmp_path / name)
    refused(f"--model={path}", "--dataset=digits", f"--data_dir={data_dir}")


def test_a_saved_model_without_images(refused, tmp_path, data_dir):
    module = tf.Module()
    text = tf.function(lambda x: {"y": x}, [tf.TensorSpec([None], tf.string)])
    module.call = text
    path = tmp_path / "text"
    tf.saved_model.save(module, str(path), text.get_concrete_function())
    assert "no signature" in refused(f"--model={path}", f"--data_dir={data_dir}")
    (path / "saved_model.pb").write_bytes(b"\xff" * 99)
    assert "not a SavedModel" in refused(f"--model={path}", f"--data_dir={data_dir}")


def variables(folder: pathlib.Path, ending: str) -> pathlib.Path:
    (path,) = (folder / "variables").glob(f"*{ending}*")
    return path


def cut(path: pathlib.Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def replaced(path: pathlib.Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


HARM = {
    "no variables": lambda path: shutil.rmtree(path / "variables"),
    "cut variables": lambda path: cut(variables(path, "data"), 3),
    "cut index": lambda path: cut(variables(path, "index"), 30),
    "cut graph": lambda path: cut(path / "saved_model.pb", 2000),
    "no graph": lambda path: cut(path / "saved_model.pb", 0),
    "strange operator": lambda path: replaced(
        path / "saved_model.pb", b"Mean", b"Nume"
    ),
}


@pytest.mark.parametrize("what", HARM)
def test_a_saved_model_that_cannot_be_loaded(what, refused, tmp_path):
    module = eval_models.Classifier(
        (None, 32, 32, 3), answer=lambda x: x * module.scale
    )
    module.scale = tf.Variable(tf.ones([10]))
    path = tmp_path / "m"
    concrete = module.call.get_concrete_function()
    tf.saved_model.save(module, str(path), {"serving_default": concrete})
    HARM[what](path)
    said = refused(f"--model={path}", "--dataset=digits")
    assert f"{path} is not a SavedModel that TensorFlow can load: " in said
    assert "save it again" in said
    names = [k for k, v in vars(builtins).items() if isinstance(v, type)]
    assert not [name for name in names if name.endswith("Error") and name in said]


@pytest.mark.parametrize("make", [eval_models.tflite, eval_models.saved_model])
def test_a_model_that_gives_nan(make, refused, tmp_path, data_dir):
    path = make(tmp_path / "nan.tflite", answer=nan)
    words = (f"--model={path}", "--dataset=digits", f"--data_dir={data_dir}")
    assert "for image 0" in refused(*words, code=1)


def test_logits_that_are_called_probabilities(refused, tmp_path, data_dir):
    path = eval_models.tflite(tmp_path / "logits.tflite")
    words = (f"--model={path}", "--dataset=digits", f"--data_dir={data_dir}")
    assert "--output=logits" in refused(*words, "--output=probabilities", code=1)


def test_a_comparison_needs_two_things_that_are_there(refused, run, tmp_path):
    out = f"--out_dir={tmp_path / 'out'}"
    refused(out, name="compare")
    refused(str(run), out, name="compare")
    refused(str(run), str(tmp_path / "nothing"), out, name="compare")
    refused(str(run), str(run), "--out_dir=/proc/out", name="compare")
    small = eval_models.tflite(tmp_path / "small.tflite", classes=3)
    refused(str(run), str(small), out, name="compare")


def test_an_empty_run_is_not_the_newest_one(refused):
    assert "--run_dir is empty" in refused("--run_dir=")


def test_a_manifest_of_another_file(refused, tmp_path, data_dir):
    path = eval_models.tflite(tmp_path / "net.tflite")
    (tmp_path / "net.tflite.json").write_text(json.dumps({"sha256": "ab" * 32}))
    words = (f"--model={path}", "--dataset=digits", f"--data_dir={data_dir}")
    assert "belongs to another file than" in refused(*words)
