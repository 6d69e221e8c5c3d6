"""TrainState: exactly what a checkpoint contains, and its hashes."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from trainer.optim import averages
from trainer.optim.averages import Average
from trainer.rundir.weights import SHIPPED, eval_weights, raw_weights, weights_sha256
from trainer.training.step import METRICS, StepOutput


@dataclasses.dataclass
class MetricSums:
    """Sums of metrics over the steps since the last line of metrics.jsonl."""

    totals: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(len(METRICS), np.float64)
    )
    count: int = 0

    def add(self, metrics: np.ndarray) -> None:
        """Adds float [K, M] step by step, so that K does not change the bits."""
        for row in metrics:
            self.totals = self.totals + row
            self.count += 1

    def means(self) -> dict[str, float]:
        """Computes the mean of each metric."""
        return {
            name: float(total / self.count)
            for name, total in zip(METRICS, self.totals, strict=True)
        }


@dataclasses.dataclass
class TrainState:
    """Everything that the next step and the next line of metrics.jsonl depend on.

    Attributes:
        averages: averages that are shipped instead of variables of the model.
        step: number of steps done.
        rows_digest: SHA-256 chained over the rows of every step done.
        sums: sums of metrics since the last line of metrics.jsonl.
        seconds, images: training time without compilation, evaluation and saving, and
            the number of images in that time.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    averages: Sequence[Average] = ()
    step: int = 0
    rows_digest: bytes = hashlib.sha256().digest()
    sums: MetricSums = dataclasses.field(default_factory=MetricSums)
    seconds: float = 0.0
    images: int = 0

    @property
    def images_per_second(self) -> float:
        """Images per second of training; 0 if nothing was timed."""
        return self.images / self.seconds if self.seconds else 0.0

    def advance(self, output: StepOutput) -> None:
        """Updates step, rows and sums after one block."""
        for rows in output.rows:
            chained = self.rows_digest + rows.astype("<i4").tobytes()
            self.rows_digest = hashlib.sha256(chained).digest()
        self.step += len(output.rows)
        self.sums.add(output.metrics)

    def variables(self) -> dict[str, keras.Variable]:
        """Collects every variable by its name in a checkpoint."""
        named = {f"model/{v.path}": v for v in self.model.variables}
        kept = averages.optimizer_averages(self.optimizer)
        for weight, average in zip(self.model.trainable_variables, kept, strict=False):
            named[f"ema/{weight.path}"] = average
        named |= {f"{SHIPPED}{a.path}": a.shipped for a in self.averages}
        taken = {id(v) for v in kept}
        for variable in self.optimizer.variables:
            if id(variable) not in taken:
                named[f"optimizer/{variable.path}"] = variable
        expected = len(self.model.variables) + len(self.optimizer.variables)
        expected += len(self.averages)
        if len(named) != expected:
            raise RuntimeError(f"{expected} variables have {len(named)} distinct paths")
        return named

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies the values of `variables`."""
        return {name: v.numpy() for name, v in self.variables().items()}

    def load(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """Restores the state from `arrays` and `facts` of a checkpoint.

        Raises:
            ValueError: the checkpoint belongs to another model or optimizer.
        """
        variables = self.variables()
        arrays = {**self._started(arrays, facts["step"]), **arrays}
        if odd := variables.keys() ^ arrays.keys():
            raise ValueError(f"variables differ, among them {sorted(odd)[0]}")
        for name, variable in variables.items():
            held = (str(arrays[name].dtype), arrays[name].shape)
            wanted = (keras.backend.standardize_dtype(variable.dtype), variable.shape)
            if held != (wanted[0], tuple(wanted[1])):
                raise ValueError(f"{name} is {held}, expected {wanted}")
        try:
            rows_digest = bytes.fromhex(facts["rows_sha256"])
            totals = [float.fromhex(total) for total in facts["sums"]["totals"]]
            sums = MetricSums(np.array(totals), int(facts["sums"]["count"]))
            seconds, images = float(facts["train_seconds"]), int(facts["train_images"])
            if len(totals) != len(METRICS) or len(rows_digest) != len(self.rows_digest):
                raise ValueError("its sums or its rows_sha256 have another length")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"its manifest is not one of ours: {error}") from error
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self.step, self.rows_digest, self.sums = facts["step"], rows_digest, sums
        self.seconds, self.images = seconds, images

    def _started(
        self, arrays: Mapping[str, np.ndarray], step: int
    ) -> dict[str, np.ndarray]:
        """Estimates the shipped averages for older checkpoints, which lack them."""
        started = {}
        for average in self.averages:
            own = "ema" if average.is_weight else "model"
            if (held := arrays.get(f"{own}/{average.path}")) is not None:
                started[f"{SHIPPED}{average.path}"] = average.start(held, step)
        return started

    def facts(self, arrays: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]:
        """Collects the fields of the manifest; `arrays` saves copying the values."""
        arrays = self.arrays() if arrays is None else arrays
        return {
            "step": self.step,
            "rows_sha256": self.rows_digest.hex(),
            "weights_sha256": weights_sha256(eval_weights(arrays)),
            "raw_weights_sha256": weights_sha256(raw_weights(arrays)),
            "sums": {
                # Hexadecimal text: a float16 gradient norm may be infinite, which JSON
                # lacks.
                "totals": [float(total).hex() for total in self.sums.totals],
                "count": self.sums.count,
            },
            "train_seconds": self.seconds,
            "train_images": self.images,
        }
