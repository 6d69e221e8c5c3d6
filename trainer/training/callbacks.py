"""Callbacks: the side effects of the training loop, called after each block."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainer import errors, storage
from trainer.config.schema import OptimConfig
from trainer.distributed.collectives import WorkerExchange
from trainer.distributed.shutdown import StopRequest, interruption
from trainer.errors import Interrupted, TrainingDiverged
from trainer.models.evaluator import (
    EvalMetrics,
    Evaluator,
    Images,
    compute_metrics,
    count_views,
)
from trainer.monitoring import kubeflow, pictures
from trainer.monitoring.monitor import Monitor
from trainer.monitoring.multi_writer import MultiWriter
from trainer.monitoring.progress import duration
from trainer.optim import schedules
from trainer.rundir import checkpoints
from trainer.rundir.layout import Run
from trainer.rundir.lease import Lease
from trainer.rundir.weights import eval_weights
from trainer.storage import as_failure
from trainer.training.loop import BlockSizer
from trainer.training.state import MetricSums, TrainState
from trainer.training.step import METRICS, StepOutput
from trainer.training.timetable import Interval, Timetable, format_epoch

RISK_SECS = 45.0  # between saves; with a block and the save itself less than a minute
CONFUSION_PICTURES = 10  # at most, in a run


@dataclasses.dataclass(frozen=True)
class NanGuard:
    """Ends training when a loss is not finite, before the state is saved."""

    config: OptimConfig
    timetable: Timetable
    run: Run

    def __call__(self, state: TrainState, output: StepOutput) -> None:
        """Raises TrainingDiverged; the message names step, rate and last checkpoint."""
        losses = output.metrics[:, METRICS.index("loss")]
        if np.isfinite(losses).all():
            return
        first = int(np.argmin(np.isfinite(losses)))
        step = state.step - len(losses) + first
        rate = _learning_rate(step, self.config, self.timetable)
        raise TrainingDiverged(
            f"the loss of step {step} is {losses[first]} at rate {rate:.3g}; "
            f"last good checkpoint: {_latest_checkpoint(self.run)};\n"
            f"{errors.DIVERGENCE_REMEDY}"
        )


def _learning_rate(step: int, config: OptimConfig, timetable: Timetable) -> float:
    return schedules.learning_rate(
        step,
        config,
        warmup_steps=timetable.warmup_steps,
        total_steps=timetable.total_steps,
    )


def _latest_checkpoint(run: Run) -> str:
    """Names the folder of the newest checkpoint; its weights are always finite."""
    kept = checkpoints.list_folders(run.checkpoints)
    return str(kept[0]) if kept else "none"


@dataclasses.dataclass
class WorkerVotes:
    """Makes all workers stop after the same block and use the same number of steps.

    Attributes:
        signal: number of a signal that some worker received, or 0.
    """

    exchange: WorkerExchange
    request: StopRequest
    sizer: BlockSizer
    signal: int = 0

    def __call__(self, _state: TrainState, _output: StepOutput) -> None:
        """Exchanges signals and proposals; the highest signal and fewest steps win."""
        votes = self.exchange([self.request.number, self.sizer.proposal()])
        self.signal = int(votes[:, 0].max())
        self.sizer.set_agreed(int(votes[:, 1].min()))


@dataclasses.dataclass(frozen=True)
class HeartbeatCallback:
    """Writes a heartbeat after each block."""

    monitor: Monitor

    def __call__(self, state: TrainState, _output: StepOutput) -> None:
        """Writes a heartbeat with the step of `state`."""
        self.monitor.heartbeat.write("train", state.step)


@dataclasses.dataclass
class ProgressCallback:
    """Shows the progress line.

    Attributes:
        means: whether the line shows the mean metrics since the last line of
            metrics.jsonl, which only the chief writes.
        timed: when the first block, which compiles, ended, and the step it reached.
    """

    timetable: Timetable
    monitor: Monitor
    means: bool = True
    timed: tuple[float, int] | None = None

    def __call__(self, state: TrainState, _output: StepOutput) -> None:
        """Shows step, ETA, epoch, speed and the mean metrics."""
        total, shown = self.timetable.total_steps, ""
        if self.means:
            means = state.sums.means()
            shown = f"loss {means['loss']:.4f}  acc {means['accuracy']:.3f}  "
        self.monitor.progress.update(
            f"step {state.step}/{total}  ETA {self._eta(state.step)}  "
            f"epoch {self.timetable.epoch(state.step):.2f}  {shown}"
            f"{state.images_per_second:,.0f} images/s",
            last=state.step == total,
        )

    def _eta(self, step: int) -> str:
        now = self.monitor.timer.now()
        if self.timed is None:
            self.timed = (now, step)
            return "-"
        secs, done = now - self.timed[0], step - self.timed[1]
        return duration(secs / done * (self.timetable.total_steps - step))


@dataclasses.dataclass
class MetricsCallback:
    """Writes the mean metrics since the last line to metrics.jsonl and TensorBoard.

    Attributes:
        since: seconds and images of training until the last line.
    """

    timetable: Timetable
    config: OptimConfig
    monitor: Monitor
    writer: MultiWriter
    since: tuple[float, int]

    def __call__(self, state: TrainState, output: StepOutput) -> None:
        """Writes a line if one is due, and resets the sums."""
        if not self.timetable.log(state.step):
            return
        rate = _learning_rate(state.step - 1, self.config, self.timetable)
        values = {**_finite(state.sums.means()), "learning_rate": rate}
        speed = {"images_per_second": round(self._speed(state, output), 1)}
        epoch = self.timetable.epoch(state.step)
        self.writer.write_scalars(state.step, epoch, "train", values | speed)
        state.sums = MetricSums()

    def _speed(self, state: TrainState, output: StepOutput) -> float:
        """Images per second since the last line.

        If there was only the block that compiled, its time is used, so that each line
        of a run has a speed, wherever its processes started.
        """
        seconds, images = state.seconds - self.since[0], state.images - self.since[1]
        self.since = (state.seconds, state.images)
        if not images:
            seconds, images = self.monitor.timer.last["compile"], output.rows.size
        return images / seconds


def _finite(values: dict[str, float]) -> dict[str, float]:
    """Removes infinite values: float16 gradients may overflow, JSON has no infinity."""
    return {k: v for k, v in values.items() if math.isfinite(v)}


@dataclasses.dataclass
class ValidationCallback:
    """Evaluates the weights that would be shipped on the validation rows.

    Attributes:
        images: uint8 [N, H, W, C].
        labels: int32 [N].
        names: class names by label.
        scores: metrics of the last evaluation.
    """

    timetable: Timetable
    evaluator: Evaluator
    images: Images
    labels: np.ndarray
    names: tuple[str, ...]
    writer: MultiWriter
    monitor: Monitor
    scores: EvalMetrics | None = None

    def __call__(self, state: TrainState, _output: StepOutput | None = None) -> None:
        """Evaluates if it is due, writes the metrics and the confusion matrix."""
        if not self.timetable.evaluate(state.step):
            return
        self.monitor.heartbeat.write("evaluate", state.step)
        with self.monitor.timer.phase("evaluate"):
            self.scores = self.measure(state)
        epoch, views = self.timetable.epoch(state.step), self.evaluator.tta
        values = {"loss": self.scores.loss, "accuracy": self.scores.accuracy}
        self.writer.write_scalars(
            state.step,
            epoch,
            "validation",
            values,
            eval_tta=views.value,
            images=self.scores.total,
        )
        if self._picture_due(state.step):
            with self.monitor.timer.phase("evaluate"):
                self._draw(state.step, self.scores.confusion)
        self.monitor.say(
            f"epoch {format_epoch(epoch)}: validation accuracy "
            f"{self.scores.accuracy:.4f}, loss {self.scores.loss:.4f}{views.words}"
        )

    def measure(self, state: TrainState) -> EvalMetrics:
        """Computes the metrics of the weights that would be shipped."""
        return measure_split(
            self.evaluator, state, self.images, self.labels, self.monitor, "validating"
        )

    def _draw(self, step: int, confusion: np.ndarray) -> None:
        def draw() -> np.ndarray:
            return pictures.confusion_picture(confusion, self.names)

        what = "the picture validation/confusion"
        if (drawn := errors.attempt_drawing(draw, what, self.monitor.say)) is not None:
            self.writer.write_picture(step, "validation/confusion", drawn)

    def _picture_due(self, step: int) -> bool:
        every = self.timetable.evaluate
        count = -(-every.last // every.steps)
        sparse = Interval(every.steps * -(-count // CONFUSION_PICTURES), every.last)
        return sparse(step)


def measure_split(
    evaluator: Evaluator,
    state: TrainState,
    images: Images,
    labels: np.ndarray,
    monitor: Monitor,
    what: str,
) -> EvalMetrics:
    """Evaluates the weights that would be shipped on uint8 [N, H, W, C], labels [N].

    `what` is the name of the phase for the progress line.
    """
    evaluator.load(eval_weights(state.arrays()))
    passes = len(images) * count_views(evaluator.tta)
    with monitor.progress.count(passes, what) as tick:

        def on_batch(count: int) -> None:
            monitor.heartbeat.write("evaluate", state.step)
            tick(count)

        return compute_metrics(evaluator.logits(images, on_batch), labels)


@dataclasses.dataclass
class CheckpointCallback:
    """Writes checkpoints, at given steps or so that a kill loses at most a minute.

    Attributes:
        keep: number of checkpoints to keep.
        metadata: the fields of each manifest that describe the run.
        sync: flushes metrics and summaries to the disk; called before each save.
        saved_at: when the last checkpoint was saved, on the timer's clock.
        saved_step: the step of the last checkpoint, or -1.
    """

    timetable: Timetable
    run: Run
    keep: int
    metadata: dict[str, Any]
    sync: Callable[[], None]
    lease: Lease
    monitor: Monitor
    saved_at: float
    saved_step: int = -1

    def __call__(self, state: TrainState, _output: StepOutput | None = None) -> None:
        """Saves if a checkpoint is due, and after the last step."""
        every, total = self.timetable.save, self.timetable.total_steps
        since = self.monitor.timer.now() - self.saved_at
        late = every.steps is None and since > RISK_SECS
        if late or every(state.step) or state.step == total:
            self.save(state)

    def save(self, state: TrainState, *, last: bool = False) -> None:
        """Saves unless this step is saved already.

        If the disk is full or gone, a message is shown, and the next save tries again;
        if the `last` save fails, the process ends with 175. Permanent errors end it at
        once.
        """
        if self.saved_step == state.step:
            return
        self.monitor.heartbeat.write("save", state.step)
        with self.monitor.timer.phase("save"):
            try:
                self._write(state)
                self.saved_step = state.step
            except OSError as error:
                last = last or state.step == self.timetable.total_steps
                self._report(error, last=last)
        self.saved_at = self.monitor.timer.now()

    def _write(self, state: TrainState) -> None:
        self.lease.confirm()  # first: the run may have been moved away
        self.sync()
        arrays = state.arrays()
        facts = self.metadata | state.facts(arrays)
        if odd := [k for k, a in arrays.items() if not np.isfinite(a).all()]:
            raise TrainingDiverged(
                f"{odd[0]} is not finite after step {state.step}; last good "
                f"checkpoint: {_latest_checkpoint(self.run)};\n"
                f"{errors.DIVERGENCE_REMEDY}"
            )
        confirm = self.lease.confirm
        checkpoints.save(self.run.checkpoints, arrays, facts, confirm=confirm)
        checkpoints.prune(self.run.checkpoints, self.keep, last=state.step)

    def _report(self, error: OSError, *, last: bool) -> None:
        message = f"the checkpoint could not be saved in {self.run.checkpoints}"
        if last or not storage.meaning(error).temporary:
            raise as_failure(message, error) from error
        self.monitor.say(
            f"{message}: {storage.reason(error)}; the previous one is kept, trying "
            "again later"
        )


@dataclasses.dataclass(frozen=True)
class StopOnSignal:
    """Saves and ends the process after a stop signal, and where the run pauses.

    All workers stop after the same block, by the votes of WorkerVotes. A process
    without peers also notices a signal that arrived after the vote.
    """

    votes: WorkerVotes
    request: StopRequest
    run: Run
    alone: bool
    checkpoint: CheckpointCallback | None  # the chief's
    pause: int | None = None

    def __call__(self, state: TrainState, _output: StepOutput) -> None:
        """Writes a checkpoint and raises Interrupted if the process has to end."""
        signal = self.votes.signal or (self.request.number if self.alone else 0)
        if not signal and state.step != self.pause:
            return
        if self.checkpoint is not None:
            self.checkpoint.save(state, last=True)
        if not signal:
            raise paused(state, self.run)
        raise interruption(
            signal,
            f"after step {state.step}, saved; the same command with "
            f"run_dir={self.run.path} resumes",
        )


def paused(state: TrainState, run: Run) -> Interrupted:
    """Creates the exception that ends a process which paused as it was told to."""
    return Interrupted(
        f"paused after step {state.step}, saved; the same command with "
        f"run_dir={run.path} and without `pause_at` goes on",
        0,
    )


@dataclasses.dataclass(frozen=True)
class KubeflowCallback:
    """Sends progress and the mean metrics of the last block to Kubeflow Trainer."""

    sender: kubeflow.StatusSender

    def __call__(self, state: TrainState, output: StepOutput) -> None:
        """Sends if a message is due."""
        means = zip(METRICS, output.metrics.mean(axis=0), strict=True)
        self.sender.send(state.step, dict(means))


@dataclasses.dataclass
class ProfileCallback:
    """Records a TensorBoard profile of the steps first..last, each a call."""

    first: int
    last: int
    directory: str
    say: Callable[[str], None]
    running: bool = False

    def __call__(self, state: TrainState, _output: StepOutput) -> None:
        """Starts or stops the profiler between blocks."""
        if not self.running and self.first - 1 <= state.step < self.last:
            tf.profiler.experimental.start(self.directory)
            self.running = True
        elif self.running and state.step >= self.last:
            tf.profiler.experimental.stop()
            self.running = False
            self.say(
                f"steps {self.first} to {self.last} are profiled in {self.directory}: "
                "TensorBoard's Profile page shows them once `pip install xprof` has "
                "added its plugin"
            )
