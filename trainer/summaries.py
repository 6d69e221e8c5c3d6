"""TensorBoard summaries: one event file an attempt, none of whose steps stands twice.

Tags: train/{loss,accuracy,learning_rate,gradient_norm,images_per_second},
validation/{loss,accuracy}, test/{loss,accuracy}; pictures train/augmented and
validation/confusion; the graph; hparams.
"""

import io
import pathlib
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

matplotlib.use("Agg")


class Summaries:
    """Writes event files into `directory`."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._writer = tf.summary.create_file_writer(str(directory))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        with self._writer.as_default(step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)

    def picture(self, step: int, tag: str, image: np.ndarray) -> None:
        """An image uint8 [H, W, C]."""
        with self._writer.as_default(step):
            tf.summary.image(tag, image[None])

    def start(self, graph: tf.Graph, settings: Mapping[str, Any]) -> None:
        """The graph of the compiled step, and what the hparams page compares."""
        with self._writer.as_default(0):
            tf.summary.graph(graph)
            hparams.hparams(dict(settings))

    def flush(self) -> None:
        """Hands everything to the operating system."""
        self._writer.flush()


def keep_until(directory: pathlib.Path, step: int) -> None:
    """Removes what event files say of steps after `step`; a torn end goes too.

    With `step` 0 nothing is kept: the run starts anew.
    """
    for path in sorted(directory.glob("events.out.tfevents.*")):
        kept = _events_until(path, step) if step else []
        if not any(event.HasField("summary") for event in kept):
            path.unlink()
            continue
        beside = path.with_name(f".{path.name}")
        with tf.io.TFRecordWriter(str(beside)) as writer:
            for event in kept:
                writer.write(event.SerializeToString())
        beside.replace(path)


def _events_until(path: pathlib.Path, step: int) -> list[tf.compat.v1.Event]:
    kept = []
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            if event.step <= step:
                kept.append(event)
    except tf.errors.DataLossError:
        pass  # written while the process was killed: what follows is lost
    return kept


def grid(images: np.ndarray, titles: list[str], columns: int = 8) -> np.ndarray:
    """Pictures [N, H, W, C] with a title above each, as one uint8 [H, W, 3]."""
    from matplotlib import figure

    rows = -(-len(images) // columns)
    drawn = figure.Figure(figsize=(columns * 1.1, rows * 1.3), layout="tight")
    axes = np.atleast_1d(drawn.subplots(rows, columns, squeeze=False)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, title in zip(axes, images, titles, strict=False):
        axis.imshow(np.squeeze(image), cmap="gray", interpolation="nearest")
        axis.set_title(title, fontsize=7)
    return _pixels(drawn)


def confusion_picture(confusion: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """A heat map of counts [K, K], true classes down, answers across."""
    import seaborn
    from matplotlib import figure

    size = 3 + 0.4 * min(len(names), 40)
    drawn = figure.Figure(figsize=(size + 1, size), layout="tight")
    axis = drawn.subplots()
    seaborn.heatmap(
        confusion,
        ax=axis,
        annot=len(names) <= 20,
        fmt="d",
        cmap="cividis",
        xticklabels=names,
        yticklabels=names,
    )
    axis.set(xlabel="answer", ylabel="true class")
    return _pixels(drawn)


def _pixels(drawn) -> np.ndarray:
    packed = io.BytesIO()
    drawn.savefig(packed, format="png", dpi=110)
    return tf.io.decode_png(packed.getvalue(), 3).numpy()
