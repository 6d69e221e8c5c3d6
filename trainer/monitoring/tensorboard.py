"""TensorBoard summaries: one event file for each attempt, no step written twice.

Tags: train/{loss,accuracy,learning_rate,gradient_norm,images_per_second},
validation/{loss,accuracy}, test/{loss,accuracy}; pictures train/augmented and
validation/confusion; the graph of the network; hparams by the name of the run; a layout
that shows the curves of all splits in one chart.
"""

import pathlib
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalars
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.image import metadata as images
from tensorboard.plugins.scalar import summary_v2 as scalars

from trainer import files
from trainer.config.serialization import flatten
from trainer.monitoring import event_records
from trainer.rundir.durable_log import DurableLog

FINAL = "test/"  # tags of values that are written after the last step
# Charts with the tags that each shows, as regular expressions.
CHARTS = {
    "loss": ["^(train|validation|test)/loss$"],
    "accuracy": ["^(train|validation|test)/accuracy$"],
    "learning rate": ["^train/learning_rate$"],
    "gradient norm": ["^train/gradient_norm$"],
}


class TensorBoardWriter:
    """Writes the event file of one attempt into `directory`.

    It replaces TensorFlow's own writer, which loses events when the disk is full.
    """

    def __init__(
        self, directory: pathlib.Path, attempt: int, say: Callable[[str], None]
    ) -> None:
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{attempt:010d}.{socket.gethostname()}"
        self._journal = DurableLog(directory / name, say)
        if self._journal.empty:
            self._add(0, file_version="brain.Event:2")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one point of each curve."""
        for tag, value in values.items():
            self._add(step, summary=scalars.scalar_pb(tag, value))

    def picture(self, step: int, tag: str, image: np.ndarray) -> None:
        """Writes an image uint8 [H, W, C]."""
        height, width, _ = image.shape
        content = [str(width), str(height), tf.io.encode_png(image).numpy()]
        value = summary_pb2.Summary.Value(
            tag=tag,
            metadata=images.create_summary_metadata(
                display_name=None, description=None
            ),
        )
        packed = tf.make_tensor_proto(content, tf.string).SerializeToString()
        value.tensor.ParseFromString(packed)
        self._add(step, summary=summary_pb2.Summary(value=[value]))

    def start(self, name: str, graph: tf.Graph, settings: Mapping[str, Any]) -> None:
        """Writes the graph of the network, the hyperparameters and the layout.

        `name` is that of the run among the hyperparameters of others.
        """
        definition = graph.as_graph_def(add_shapes=True)
        self._add(0, graph_def=definition.SerializeToString())
        self._add(0, summary=hparams.hparams_pb(dict(settings), trial_id=name))
        self._add(0, summary=_layout())

    def sync(self) -> None:
        """Flushes all events to the disk; raises OSError if that is impossible."""
        self._journal.sync()

    def _add(self, step: int, **what: Any) -> None:
        event = event_pb2.Event(step=step, wall_time=time.time(), **what)
        self._journal.add(event_records.encode_record(event.SerializeToString()))


def _layout() -> summary_pb2.Summary:
    """The charts of CHARTS for TensorBoard's page of custom scalars."""
    charts = [
        layout_pb2.Chart(
            title=title, multiline=layout_pb2.MultilineChartContent(tag=tags)
        )
        for title, tags in CHARTS.items()
    ]
    layout = layout_pb2.Layout(
        category=[layout_pb2.Category(title="training", chart=charts)]
    )
    packed = custom_scalars.pb(layout).SerializeToString()
    return summary_pb2.Summary.FromString(packed)


def truncate_after(
    directory: pathlib.Path, step: int, say: Callable[[str], None] = print
) -> None:
    """Removes events after `step` and incomplete last records from event files.

    Damaged records are removed as well, and `say` receives a message about them. A file
    that needs no change is not written again.

    With `step` 0 everything is removed: the run starts again. Results of the test split
    are always removed: the process that continues the run writes them.
    """
    for left in directory.glob(".events.out.tfevents.*"):  # TensorBoard would read it
        left.unlink()
    for path in sorted(directory.glob("events.out.tfevents.*")):
        kept = _Kept(path, step, say)
        if step and path.is_file() and not path.is_symlink():
            kept.read()
        if not kept.summaries:
            path.unlink()
            files.sync_directory(directory)
        else:
            files.keep_ranges(path, kept.ranges)


class _Kept:
    """The part of an event file that is kept.

    Attributes:
        ranges: (start, end) of the bytes to keep, ascending.
        summaries: whether they contain a summary.
    """

    def __init__(
        self, path: pathlib.Path, step: int, say: Callable[[str], None]
    ) -> None:
        self._path, self._step, self._say = path, step, say
        self.ranges: list[tuple[int, int]] = []
        self.summaries = False

    def read(self) -> None:
        """Reads the file and sets the attributes."""
        places, size, end = 0, 0, -1
        for span in event_records.scan(self._path):
            event = _event(span)
            if event is not None:
                self._take(span, event)
            elif not span.torn:  # a killed process leaves an incomplete record
                places += span.start != end
                size, end = size + span.end - span.start, span.end
        if places:
            where = "1 place" if places == 1 else f"{places} places"
            self._say(
                f"removed {size:,} damaged bytes of {self._path}, in {where}; "
                "the events before and after them are kept"
            )

    def _take(self, span: event_records.Span, event: event_pb2.Event) -> None:
        tags = [value.tag for value in event.summary.value]
        if event.step > self._step or any(tag.startswith(FINAL) for tag in tags):
            return
        self.summaries |= event.HasField("summary")
        start = span.start
        if self.ranges and self.ranges[-1][1] == start:
            start = self.ranges.pop()[0]
        self.ranges.append((start, span.end))


def _event(span: event_records.Span) -> event_pb2.Event | None:
    if span.content is None:
        return None
    try:
        return event_pb2.Event.FromString(span.content)
    except message.DecodeError:
        return None


def flatten_settings(config: dict[str, Any]) -> dict[str, int | float | str]:
    """Flattens a nested config to hyperparameters, which are numbers or texts."""
    return {
        name: value if isinstance(value, int | float | str) else str(value)
        for name, value in flatten(config).items()
    }
