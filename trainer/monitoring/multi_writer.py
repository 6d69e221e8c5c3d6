"""Multi writer: writes a value to metrics.jsonl and to TensorBoard with one call."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.monitoring.metrics_log import MetricsLog
from trainer.monitoring.tensorboard import TensorBoardWriter


@dataclasses.dataclass(frozen=True)
class MultiWriter:
    """Writes the metrics of a run to metrics.jsonl and to TensorBoard.

    Attributes:
        lines: metrics.jsonl, which keeps scalars and texts.
        summaries: the event file of TensorBoard, which keeps scalars and pictures.
    """

    lines: MetricsLog
    summaries: TensorBoardWriter

    @classmethod
    def open(
        cls,
        metrics: pathlib.Path,
        events: pathlib.Path,
        attempt: int,
        say: Callable[[str], None],
    ) -> "MultiWriter":
        """Opens both files for appending.

        Args:
            metrics: path of metrics.jsonl.
            events: folder of event files.
            attempt: number of this process among those that wrote the run.
            say: receives one message when a file cannot be written; the content is
                kept in memory until it can.
        """
        return cls(MetricsLog(metrics, say), TensorBoardWriter(events, attempt, say))

    def write_scalars(
        self,
        step: int,
        epoch: float,
        split: str,
        values: Mapping[str, float],
        **facts: str | int,
    ) -> None:
        """Writes a line of metrics.jsonl and a point of each curve "split/name".

        `facts` describe how the values were measured; only metrics.jsonl keeps them.
        """
        self.lines.write(step, epoch, split, **values, **facts)
        tagged = {f"{split}/{name}": value for name, value in values.items()}
        self.summaries.scalars(step, tagged)

    def write_picture(self, step: int, tag: str, image: np.ndarray) -> None:
        """Writes an image uint8 [H, W, C]."""
        self.summaries.picture(step, tag, image)

    def write_start(
        self, name: str, graph: tf.Graph, settings: Mapping[str, Any]
    ) -> None:
        """Writes the graph of the network and the hyperparameters of the run `name`."""
        self.summaries.start(name, graph, settings)

    def sync(self) -> None:
        """Flushes everything that was written to the disk.

        Raises:
            OSError: the disk is full or gone.
        """
        self.lines.sync()
        self.summaries.sync()
