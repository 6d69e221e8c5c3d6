"""A small run and small model files for the tests of eval; no training."""

import contextlib
import dataclasses
import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import flags

from eval import compare, predict, report, runner
from eval import data as data_command
from tests.support import commands
from trainer.cli import command as cli_command
from trainer.config import schema
from trainer.data.sources import tfds_source
from trainer.data.split import Split
from trainer.models import builder
from trainer.optim import optimizers
from trainer.rundir import checkpoints
from trainer.rundir.layout import Run
from trainer.training import state

STEP = 7
COMMANDS = {"report": report, "compare": compare, "predict": predict}
COMMANDS["data"] = data_command


def teach(model: keras.Model, split: Split) -> None:
    """Makes the last layer name the class whose mean features are the nearest."""
    body, last = model.get_layer("body"), model.get_layer("body").get_layer("classes")
    pixels = model.get_layer("normalise")(split.images)
    found = np.asarray(keras.Model(body.input, last.input)(pixels))
    found = found / found.std()
    means = np.stack([found[split.labels == k].mean(0) for k in range(10)])
    last.kernel.assign(means.T / 4 / found.std())
    last.bias.assign(-(means**2).sum(1) / 8)


def make_run(
    path: pathlib.Path, data: pathlib.Path, *, seed: int = 0, held=0.1, taught=False
) -> Run:
    """A finished run of random weights, but for the last layer of one that is taught.

    Its files are all real.
    """
    prepared = tfds.builder("digits", data_dir=data)
    splits = {
        name: tfds_source.load_split(prepared, name) for name in ("train", "test")
    }
    settings = schema.Config(
        data=schema.DataConfig(dataset="digits", validation_fraction=held),
        model=schema.ModelConfig(name="cnn", kwargs={"width": 1 / 16}),
        seed=seed,
    )
    keras.utils.set_random_seed(seed)
    model = builder.build_model(settings.model, image_shape=(32, 32, 3), num_classes=10)
    if taught:
        teach(model, splits["train"])
    optimizer = optimizers.build_optimizer(settings, model.trainable_variables)
    trained = state.TrainState(model, optimizer, step=STEP)
    run, facts = Run(path), trained.facts()
    checkpoints.save(run.checkpoints, trained.arrays(), facts)
    hashes = {name: split.sha256 for name, split in splits.items()}
    kept = {"config": settings.to_json(), "run": {"data_dir": str(data)}}
    named = {"name": "digits/1.0.0", "labels": list("0123456789")}
    told = {**named, "image_shape": [32, 32, 3], "sha256": hashes}
    run.write("config.json", kept | {"data": told})
    run.write("environment.json", {"python": "3.11"})
    run.write(
        "result.json",
        {
            "finished": True,
            "steps": STEP,
            "test_accuracy": 0.5,
            "weights_sha256": facts["weights_sha256"],
            "data_sha256": hashes,
        },
    )
    lines = [
        {"step": n, "split": split, "loss": 2 - n / 10, "accuracy": n / 10}
        for n in range(1, 5)
        for split in ("train", "validation")
    ]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


class Classifier(tf.Module):
    """Means of as many parts of an image as there are classes, then `answer`."""

    def __init__(
        self, shape=(1, 32, 32, 3), classes=10, answer=tf.identity, dtype=None
    ):
        super().__init__()
        spec = tf.TensorSpec(shape, dtype or tf.float32, name="images")
        self.classes, self.answer = classes, answer
        self.call = tf.function(self._call, [spec])

    def _call(self, images):
        size = int(np.prod(images.shape[1:]))
        rows = tf.reshape(tf.cast(images, tf.float32), (-1, size))
        width = size // self.classes
        parts = tf.reshape(rows[:, : width * self.classes], (-1, self.classes, width))
        return {"answers": self.answer(tf.reduce_mean(parts, 2) / 16)}


def tflite(path: pathlib.Path, **options) -> pathlib.Path:
    """A float .tflite of a Classifier."""
    module = Classifier(**options)
    concrete = module.call.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    path.write_bytes(converter.convert())
    return path


def saved_model(path: pathlib.Path, **options) -> pathlib.Path:
    """A SavedModel of a Classifier for any number of images."""
    module = Classifier(shape=(None, 32, 32, 3), **options)
    signature = {"serving_default": module.call.get_concrete_function()}
    tf.saved_model.save(module, str(path), signature)
    return path


@dataclasses.dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: list[str]


def command(monkeypatch, capfd, name: str, *words: str) -> Ended:
    """Runs a command of eval in this process, as its command line does."""
    monkeypatch.setattr(
        runner, "start_devices", lambda: None
    )  # devices are made once only
    module = COMMANDS[name]
    values = module.define(flags.FlagValues())
    monkeypatch.setattr(sys, "argv", [f"eval.{name}", *words])
    capfd.readouterr()
    with contextlib.suppress(SystemExit):
        try:
            cli_command.run(
                name,
                "",
                values,
                lambda *found: module.main(values, *found),
                words="A B ..." if name in ("compare", "predict") else "",
            )
        except SystemExit as error:
            code = error.code
            raise
    out, err = capfd.readouterr()
    err = commands.PROGRESS.sub("", err)
    return Ended(code, out, [line for line in err.splitlines() if line.strip()])


def tree(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file below `folder` by its name."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file()
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Float64 [..., C] of floats [..., C]."""
    wide = np.float64(logits)
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
