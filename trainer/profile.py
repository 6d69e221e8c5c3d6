"""Profile: a recording of some steps for TensorBoard."""

import dataclasses

import tensorflow as tf

from trainer.state import TrainState
from trainer.steps import Outcome


@dataclasses.dataclass
class Profile:
    """Records a TensorBoard profile of the calls that cover steps first..last."""

    first: int
    last: int
    directory: str
    running: bool = False

    def __call__(self, state: TrainState, _outcome: Outcome) -> None:
        """Starts and stops the profiler between calls."""
        if not self.running and self.first - 1 <= state.step < self.last:
            tf.profiler.experimental.start(self.directory)
            self.running = True
        elif self.running and state.step >= self.last:
            tf.profiler.experimental.stop()
            self.running = False
