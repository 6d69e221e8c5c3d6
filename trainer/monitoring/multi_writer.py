"""Multi writer: one call writes a value to metrics.jsonl and to TensorBoard."""

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
    """Writes the metrics of a run wherever they are kept.

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
        """Opens both for appending.

        Args:
            metrics: path of metrics.jsonl.
            events: folder of event files.
            attempt: number of this process among those that wrote the run.
            say: told once when something cannot be written; it is kept in memory.
        """
        return cls(MetricsLog(metrics, say), TensorBoardWriter(events, attempt, say))

    def write_scalars(
        self,
        step: int,
        epoch: float,
        split: str,
        values: Mapping[str, float],
        **texts: str,
    ) -> None:
        """Writes a line of metrics.jsonl and a point of each curve "split/name".

        `texts` say how the values were measured; only metrics.jsonl keeps them.
        """
        self.lines.write(step, epoch, split, **values, **texts)
        tagged = {f"{split}/{name}": value for name, value in values.items()}
        self.summaries.scalars(step, tagged)

    def write_picture(self, step: int, tag: str, image: np.ndarray) -> None:
        """Writes an image uint8 [H, W, C]."""
        self.summaries.picture(step, tag, image)

    def write_start(self, graph: tf.Graph, settings: Mapping[str, Any]) -> None:
        """Writes the graph of the compiled step, and the hyperparameters."""
        self.summaries.start(graph, settings)

    def sync(self) -> None:
        """Makes all that was written durable.

        Raises:
            OSError: the disk is full or gone.
        """
        self.lines.sync()
        self.summaries.sync()
