"""Measures what --init_from gains: two classes learnt from few images of each.

    python -m benchmarks.fine_tuning --data_dir=... --model=resnet8

A network is trained on all other classes of the data set. Then each round draws
--images training images of each of the two --classes with a seed of its own, and trains
on them from random weights, from the pretrained ones, and with a frozen backbone. Each
is tested on all test images of the two classes. The last column says whether its 95 %
interval lies above that of the training from random weights of the same round.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from benchmarks import interleave, training
from trainer.cli import command
from trainer.config.enums import Precision
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, ModelConfig, OptimConfig
from trainer.errors import InvalidInput
from trainer.monitoring import native_output

VALUES = flags.FlagValues()
CLASSES = ["cat", "dog"]
BATCH = 64  # of the trainings on few images
TUNED_RATE = 0.1  # part of the learning rate that the backbone takes when fine-tuned
SIDES = {
    "random weights": {},
    "fine-tuned": {"backbone_lr_multiplier": TUNED_RATE},
    "frozen backbone": {"freeze": "backbone"},
}


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags."""
    training.define(values)
    where = {"flag_values": values, "module_name": "Measurement"}
    flags.DEFINE_list(
        "classes", list(CLASSES), "The two that are learnt last.", **where
    )
    flags.DEFINE_integer(
        "images", 200, "Images of each of them.", lower_bound=1, **where
    )
    flags.DEFINE_integer(
        "pretrain_steps", 1500, "On the other classes.", lower_bound=1, **where
    )
    flags.DEFINE_integer(
        "tune_steps", 300, "On the two classes.", lower_bound=1, **where
    )
    return interleave.define(values, 3)


def keep_classes(
    split: Any, kept: Sequence[int], rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images and new labels of the classes `kept`, of all rows or of `rows`."""
    rows = np.arange(len(split.labels)) if rows is None else rows
    rows = rows[np.isin(split.labels[rows], kept)]
    labels = np.searchsorted(kept, split.labels[rows])  # `kept` ascends
    return np.asarray(split.images[rows]), labels.astype(np.int32)


def draw(labels: np.ndarray, kept: Sequence[int], seed: int) -> np.ndarray:
    """Rows of --images random examples of each of the classes `kept`."""
    generator = np.random.default_rng(seed)
    found = []
    for label in kept:
        rows = np.flatnonzero(labels == label)
        if len(rows) < VALUES.images:
            raise InvalidInput(
                f"images={VALUES.images} are more than the {len(rows)} of a class; "
                "lower it"
            )
        found.append(generator.choice(rows, VALUES.images, replace=False))
    return np.sort(np.concatenate(found))


def config(steps: int, batch: int, seed: int, side: dict[str, Any]) -> Config:
    """The config of one training."""
    multiplier = side.get("backbone_lr_multiplier", 1.0)
    return Config(
        model=ModelConfig(name=VALUES.model, freeze=side.get("freeze")),
        optim=OptimConfig(backbone_lr_multiplier=multiplier),
        data=dataclasses.replace(Config().data, validation_fraction=0.0),
        global_batch=batch,
        train_steps=steps,
        seed=seed,
        precision=Precision(VALUES.precision),
    )


class Comparison:
    """Trains the sides of each round, all from one pretrained run.

    Args:
        splits: the whole data set.
        root: folder of the runs.
    """

    def __init__(self, splits: Any, root: pathlib.Path) -> None:
        from trainer.data import from_arrays

        self._from_arrays, self._splits, self._root = from_arrays, splits, root
        names = list(splits.train.names)
        if unknown := [name for name in VALUES.classes if name not in names]:
            raise InvalidInput(f"classes={unknown[0]} is not one of {', '.join(names)}")
        self._last = sorted(names.index(name) for name in VALUES.classes)
        self._first = [n for n in range(len(names)) if n not in self._last]

    def pretrain(self) -> dict[str, Any]:
        """Trains on the other classes; returns a row of the table."""
        settings = config(VALUES.pretrain_steps, VALUES.global_batch, 0, {})
        return self._train("pretrained", settings, self._first, None, None)

    def round(self, seed: int) -> list[dict[str, Any]]:
        """Trains every side on the same few images; returns their rows."""
        rows = draw(self._splits.train.labels, self._last, seed)
        found = []
        for name, side in SIDES.items():
            batch = min(BATCH, len(rows))
            settings = config(VALUES.tune_steps, batch, seed, side)
            start = str(self._root / "pretrained") if side else None
            found.append(self._train(name, settings, self._last, rows, start))
            found[-1]["above"] = found[-1]["low"] > found[0]["high"]
        return found

    def _train(
        self,
        name: str,
        settings: Config,
        classes: list[int],
        rows: np.ndarray | None,
        init_from: str | None,
    ) -> dict[str, Any]:
        import trainer

        train, test = self._splits.train, self._splits.test
        data = self._from_arrays(
            keep_classes(train, classes, rows),
            keep_classes(test, classes),
            names=[train.names[label] for label in classes],
        )
        done = trainer.train(
            settings,
            data,
            run_dir=self._root / (name if rows is None else f"{name}-{settings.seed}"),
            run_config=RunConfig(init_from=init_from),
        )
        low, high = done.test_accuracy_interval
        return {
            "side": name,
            "seed": settings.seed,
            "train images": len(data.train.labels),
            "accuracy": done.test_accuracy,
            "low": low,
            "high": high,
        }


def main() -> None:
    """Trains all sides and reports."""
    with native_output.suppress_native_stderr():
        from trainer.data import from_tfds
    splits = from_tfds(VALUES.dataset, data_dir=VALUES.data_dir)
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(splits, pathlib.Path(folder))
        rows = [comparison.pretrain()]
        for seed in range(VALUES.rounds):
            rows += comparison.round(seed)
    interleave.report("fine_tuning", training.describe_settings(VALUES), rows)


if __name__ == "__main__":
    command.run("benchmarks.fine_tuning", __doc__, define(VALUES), main)
