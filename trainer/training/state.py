"""TrainState: exactly what a checkpoint holds, and the hashes that prove it."""

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
    """Totals over the steps since the last line of metrics."""

    totals: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(len(METRICS), np.float64)
    )
    count: int = 0

    def add(self, metrics: np.ndarray) -> None:
        """Adds float [K, M] one step after the other, so K does not change the bits."""
        for row in metrics:
            self.totals = self.totals + row
            self.count += 1

    def means(self) -> dict[str, float]:
        """Mean of each metric over the steps added."""
        return {
            name: float(total / self.count)
            for name, total in zip(METRICS, self.totals, strict=True)
        }


@dataclasses.dataclass
class TrainState:
    """Everything that the next step depends on, and the sums that the next line needs.

    Attributes:
        averages: what is shipped in the place of variables of the model.
        step: steps done.
        rows_digest: SHA-256 chained over the rows of every step done.
        sums: since the last line of metrics.
        seconds, images: of training, compilation, evaluation and saving excluded.
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
        """Training images per second of training; 0 while nothing was timed."""
        return self.images / self.seconds if self.seconds else 0.0

    def advance(self, output: StepOutput) -> None:
        """Adds the steps of one block."""
        for rows in output.rows:
            chained = self.rows_digest + rows.astype("<i4").tobytes()
            self.rows_digest = hashlib.sha256(chained).digest()
        self.step += len(output.rows)
        self.sums.add(output.metrics)

    def variables(self) -> dict[str, keras.Variable]:
        """Every variable by the name it has in a checkpoint."""
        named = {f"model/{v.path}": v for v in self.model.variables}
        kept = averages.carried(self.optimizer)
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
        """The values of `variables`."""
        return {name: v.numpy() for name, v in self.variables().items()}

    def load(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """Takes over what `arrays` and `facts` of a checkpoint hold.

        Raises:
            ValueError: the checkpoint is of another model or optimizer.
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
        """What is shipped, of a checkpoint from before that was kept."""
        started = {}
        for average in self.averages:
            own = "ema" if average.of_weight else "model"
            if (held := arrays.get(f"{own}/{average.path}")) is not None:
                started[f"{SHIPPED}{average.path}"] = average.start(held, step)
        return started

    def facts(self, arrays: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]:
        """What a checkpoint's manifest says of the state; `arrays` spare reading it."""
        arrays = self.arrays() if arrays is None else arrays
        return {
            "step": self.step,
            "rows_sha256": self.rows_digest.hex(),
            "weights_sha256": weights_sha256(eval_weights(arrays)),
            "raw_weights_sha256": weights_sha256(raw_weights(arrays)),
            "sums": {
                # As text: a gradient norm of float16 may be infinite, JSON has none.
                "totals": [float(total).hex() for total in self.sums.totals],
                "count": self.sums.count,
            },
            "train_seconds": self.seconds,
            "train_images": self.images,
        }
