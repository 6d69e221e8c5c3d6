"""Images per second: the whole trainer, its bare step, and Keras `fit`, interleaved.

    python -m benchmarks.throughput --data_dir=... --model=cnn --rounds=3

The trainer runs as its users run it: a process with default logging and saving,
without validation. Its speed is that between two lines of TensorBoard, `--steps`
steps apart, so nothing but start-up is left out. "bare" is forward, backward and update
of the same network on one constant batch; "fit" is Keras' own loop on the same layers
(Keras' Dropout and BatchNormalization), data and augmentation through tf.data.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from trainer import cluster, commandline, datasets, models, optim
from trainer.config import Config, ModelConfig, OptimConfig, Precision
from trainer.models import address, layers

ROOT = pathlib.Path(__file__).parent.parent
WARM_UP = 60  # steps that nobody counts
VALUES = flags.FlagValues()


def define(values: flags.FlagValues) -> flags.FlagValues:
    where = {"flag_values": values, "module_name": "Benchmark"}
    flags.DEFINE_string("data_dir", None, "Where cifar10 is prepared.", **where)
    flags.DEFINE_enum("model", "cnn", sorted(models.MODELS), "Network.", **where)
    flags.DEFINE_string("precision", "mixed_bfloat16", "Of all three.", **where)
    flags.DEFINE_integer("global_batch", 256, "Images a step.", **where)
    flags.DEFINE_integer("steps", 300, "Steps that are timed.", **where)
    flags.DEFINE_integer("rounds", 3, "Of trainer, bare, fit, in turn.", **where)
    return values


def config(values: flags.FlagValues) -> Config:
    return Config(
        model=ModelConfig(name=values.model),
        optim=OptimConfig(warmup_epochs=0),
        global_batch=values.global_batch,
        train_steps=WARM_UP + values.steps,
        precision=Precision(values.precision),
    )


def trainer_speed(values: flags.FlagValues) -> float:
    """A process of the trainer, from the line of step WARM_UP to the last."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        words = [f"--{n}={values[n].value}" for n in ("data_dir", "model", "precision")]
        words += [f"--global_batch={values.global_batch}", "--warmup_epochs=0"]
        words += [f"--train_steps={WARM_UP + values.steps}", "--validation_fraction=0"]
        words += [f"--log_every_steps={WARM_UP}", f"--run_dir={run}"]
        subprocess.run(
            [sys.executable, "-m", "trainer.main", *words],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        times = {}
        for path in (run / "tensorboard").glob("events.out.tfevents.*"):
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                if any(v.tag == "train/loss" for v in event.summary.value):
                    times[event.step] = event.wall_time
    first, last = min(times), max(times)
    return (last - first) * values.global_batch / (times[last] - times[first])


class Bare:
    """Forward, backward and update on one constant batch."""

    def __init__(
        self, settings: Config, images: np.ndarray, labels: np.ndarray
    ) -> None:
        model = models.build(
            settings.model,
            image_shape=images.shape[1:],
            num_classes=10,
            precision=settings.precision.value,
        )
        body = model.get_layer("body")
        optimizer = optim.build(settings, body.trainable_variables)
        count = settings.global_batch
        x = model.get_layer("normalise")(tf.constant(images[:count], tf.float32))
        y = tf.constant(labels[:count])
        dropouts = [x for x in body.layers if isinstance(x, layers.Dropout)]

        @tf.function
        def steps(number: tf.Tensor) -> None:
            for step in tf.range(tf.cast(number, tf.int64)):
                here = address.Address(0, step, tf.zeros([], tf.int64))
                here.drawn = {d.name: d.draw(here, count) for d in dropouts}
                with address.at(here), tf.GradientTape() as tape:
                    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                        y, body(x, training=True)
                    )
                    loss = tf.reduce_mean(losses)
                weights = [v.value for v in body.trainable_variables]
                optimizer.apply(tape.gradient(loss, weights), body.trainable_variables)

        self._steps, self._count = steps, count
        steps(tf.constant(5))

    def speed(self, number: int) -> float:
        start = time.perf_counter()
        self._steps(tf.constant(number))
        return number * self._count / (time.perf_counter() - start)


class Fit:
    """Keras' `fit` on the same layers, data and augmentation."""

    def __init__(
        self, settings: Config, images: np.ndarray, labels: np.ndarray
    ) -> None:
        def own(layer: keras.layers.Layer) -> keras.layers.Layer:
            if isinstance(layer, layers.Dropout):
                return keras.layers.Dropout(layer.rate, name=layer.name)
            if isinstance(layer, layers.BatchNorm):
                return keras.layers.BatchNormalization(name=layer.name)
            return layer.__class__.from_config(layer.get_config())

        built = models.build(
            settings.model,
            image_shape=images.shape[1:],
            num_classes=10,
            precision=settings.precision.value,
        )
        keras.config.set_dtype_policy(settings.precision.value)
        self._model = keras.models.clone_model(
            built.get_layer("body"), clone_function=own
        )
        keras.config.set_dtype_policy("float32")
        self._model.compile(
            optimizer=keras.optimizers.AdamW(settings.optim.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        self._count = settings.global_batch
        self._batches = (
            tf.data.Dataset.from_tensor_slices((images, labels))
            .shuffle(len(images), seed=0)
            .repeat()
            .map(self._vary, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(settings.global_batch)
            .prefetch(tf.data.AUTOTUNE)
        )
        self._model.fit(self._batches, steps_per_epoch=5, epochs=1, verbose=0)

    @staticmethod
    def _vary(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        padded = tf.pad(image, [[4, 4], [4, 4], [0, 0]], mode="REFLECT")
        cropped = tf.image.random_crop(padded, image.shape, seed=1)
        flipped = tf.image.random_flip_left_right(cropped, seed=2)
        return (tf.cast(flipped, tf.float32) - 128) / 128, label

    def speed(self, number: int) -> float:
        start = time.perf_counter()
        self._model.fit(self._batches, steps_per_epoch=number, epochs=1, verbose=0)
        return number * self._count / (time.perf_counter() - start)


def main() -> None:
    cluster.set_threads(None)
    settings = config(VALUES)
    split = datasets.load(datasets.locate("cifar10", VALUES.data_dir), "train")
    bare = Bare(settings, split.images, split.labels)
    fit = Fit(settings, split.images, split.labels)
    speeds: dict[str, list[float]] = {"trainer": [], "bare": [], "fit": []}
    for _ in range(VALUES.rounds):
        speeds["trainer"].append(trainer_speed(VALUES))
        speeds["bare"].append(bare.speed(VALUES.steps))
        speeds["fit"].append(fit.speed(VALUES.steps))
        print({name: round(values[-1]) for name, values in speeds.items()}, flush=True)
    middle = {name: statistics.median(values) for name, values in speeds.items()}
    print(
        json.dumps(
            {
                "model": VALUES.model,
                "precision": VALUES.precision,
                "global_batch": VALUES.global_batch,
                "steps": VALUES.steps,
                "images_per_second": {k: round(v, 1) for k, v in middle.items()},
                "trainer / bare": round(middle["trainer"] / middle["bare"], 3),
                "trainer / fit": round(middle["trainer"] / middle["fit"], 3),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    commandline.run("benchmarks.throughput", __doc__, define(VALUES), main)
