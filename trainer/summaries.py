"""TensorBoard summaries: one event file an attempt, none of whose steps stands twice.

Tags: train/{loss,accuracy,learning_rate,gradient_norm,images_per_second},
validation/{loss,accuracy}, test/{loss,accuracy}; pictures train/augmented and
validation/confusion; the graph; hparams.
"""

import pathlib
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.image import metadata as images
from tensorboard.plugins.scalar import summary_v2 as scalars

from trainer import files
from trainer.journal import Journal

FINAL = "test/"  # tags of what is written after the last step


class Summaries:
    """Writes the event file of one attempt into `directory`.

    Not TensorFlow's own writer: that loses what it could not write to a full disk.
    """

    def __init__(
        self, directory: pathlib.Path, attempt: int, say: Callable[[str], None]
    ) -> None:
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{attempt:010d}.{socket.gethostname()}"
        self._journal = Journal(directory / name, say)
        if self._journal.empty:
            self._add(0, file_version="brain.Event:2")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        for tag, value in values.items():
            self._add(step, summary=scalars.scalar_pb(tag, value))

    def picture(self, step: int, tag: str, image: np.ndarray) -> None:
        """An image uint8 [H, W, C]."""
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

    def start(self, graph: tf.Graph, settings: Mapping[str, Any]) -> None:
        """The graph of the compiled step, and what the hparams page compares."""
        definition = graph.as_graph_def(add_shapes=True)
        self._add(0, graph_def=definition.SerializeToString())
        self._add(0, summary=hparams.hparams_pb(dict(settings)))

    def sync(self) -> None:
        """Makes all events durable; raises OSError where that cannot be."""
        self._journal.sync()

    def _add(self, step: int, **what: Any) -> None:
        event = event_pb2.Event(step=step, wall_time=time.time(), **what)
        self._journal.add(_record(event.SerializeToString()))


def _record(content: bytes) -> bytes:
    """`content` as TensorFlow's record files frame it."""
    length = struct.pack("<Q", len(content))
    parts = [length, _checksum(length), content, _checksum(content)]
    return b"".join(parts)


def _checksum(content: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(content))


def keep_until(
    directory: pathlib.Path, step: int, say: Callable[[str], None] = print
) -> None:
    """Removes what event files say of steps after `step`; a torn end goes too.

    So do records that hold no event; `say` is told of those.

    With `step` 0 nothing is kept: the run starts anew. What comes after the last step
    is removed too: whoever continues a run will write it.
    """
    for path in sorted(directory.glob("events.out.tfevents.*")):
        own = path.is_file() and not path.is_symlink()
        kept = _events_until(path, step, say) if step and own else []
        if not any(event.HasField("summary") for event in kept):
            path.unlink()
            continue
        records = [_record(event.SerializeToString()) for event in kept]
        files.write_bytes(path, b"".join(records))


def _events_until(
    path: pathlib.Path, step: int, say: Callable[[str], None]
) -> list[tf.compat.v1.Event]:
    kept, foreign = [], 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            try:
                event = tf.compat.v1.Event.FromString(record)
            except message.DecodeError:
                foreign += 1
                continue
            final = any(v.tag.startswith(FINAL) for v in event.summary.value)
            if event.step <= step and not final:
                kept.append(event)
    except tf.errors.DataLossError:
        pass  # written while the process was killed: what follows is lost
    if foreign:
        say(f"dropped {foreign} records of {path}: they hold no event")
    return kept
