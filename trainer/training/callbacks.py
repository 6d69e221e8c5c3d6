"""Every side effect of the loop: called with the state and what the call measured."""

import dataclasses
import math
import typing
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer import errors, storage
from trainer.config.schema import Config
from trainer.distributed import environment
from trainer.distributed.heartbeat import Heartbeat
from trainer.distributed.shutdown import StopRequest, stopped
from trainer.errors import TrainingFailed
from trainer.models import evaluator
from trainer.models.evaluator import EvalMetrics, Evaluator, compute_metrics
from trainer.monitoring import kubeflow, metrics_log, pictures, tensorboard
from trainer.monitoring.metrics_log import MetricsLog
from trainer.monitoring.progress import PhaseTimer, Progress, duration
from trainer.monitoring.tensorboard import TensorBoardWriter
from trainer.optim import schedules
from trainer.rundir import checkpoints
from trainer.rundir.layout import Run
from trainer.rundir.weights import eval_weights
from trainer.storage import as_failure
from trainer.training.loop import BlockSizer, Callback
from trainer.training.state import MetricSums, TrainState
from trainer.training.step import METRICS, StepOutput
from trainer.training.timetable import Interval, Timetable

RISK_SECS = 45.0  # between saves; with a call and the save itself under a minute
PICTURES = 10  # confusion matrices over a run


@dataclasses.dataclass(frozen=True)
class NanGuard:
    """Ends training when a loss is not finite, before anything of it is saved."""

    config: Config
    plan: Timetable
    run: Run

    def __call__(self, state: TrainState, outcome: StepOutput) -> None:
        """Raises Failure with the step, its rate and the last good checkpoint."""
        losses = outcome.metrics[:, METRICS.index("loss")]
        if np.isfinite(losses).all():
            return
        first = int(np.argmin(np.isfinite(losses)))
        step = state.step - len(losses) + first
        rate = _rate(step, self.config, self.plan)
        raise TrainingFailed(
            f"the loss of step {step} is {losses[first]} at rate {rate:.3g}; "
            f"last good checkpoint: {latest_checkpoint(self.run)};\n"
            f"{errors.DIVERGENCE_REMEDY}"
        )


def _rate(step: int, config: Config, plan: Timetable) -> float:
    steps = {"warmup_steps": plan.warmup_steps, "total_steps": plan.total_steps}
    return schedules.learning_rate(step, config.optim, **steps)


def latest_checkpoint(run: Run) -> str:
    """Folder of the newest checkpoint: none is written that is not finite."""
    kept = checkpoints.list_folders(run.checkpoints)
    return str(kept[0]) if kept else "none"


@dataclasses.dataclass
class MetricsCallback:
    """Writes the means since the last line to metrics.jsonl and TensorBoard."""

    plan: Timetable
    clock: PhaseTimer
    config: Config
    metrics: MetricsLog
    summaries: TensorBoardWriter
    since: tuple[float, int]  # seconds and images of training at the last line

    def __call__(self, state: TrainState, outcome: StepOutput) -> None:
        """Writes a line if one is due, and empties the sums."""
        if not self.plan.log(state.step):
            return
        values = {
            **_finite(state.sums.means()),
            "learning_rate": _rate(state.step - 1, self.config, self.plan),
        }
        speed = {"images_per_second": round(self._speed(state, outcome), 1)}
        epoch = self.plan.epoch(state.step)
        self.metrics.write(state.step, epoch, "train", **values, **speed)
        tagged = {f"train/{k}": v for k, v in (values | speed).items()}
        self.summaries.scalars(state.step, tagged)
        state.sums = MetricSums()

    def _speed(self, state: TrainState, outcome: StepOutput) -> float:
        """Images per second since the last line.

        A line that had only the call that compiled takes that one: each line of a run
        has a speed, wherever its processes started.
        """
        seconds, images = state.seconds - self.since[0], state.images - self.since[1]
        self.since = (state.seconds, state.images)
        if not images:
            seconds, images = self.clock.last["compile"], outcome.rows.size
        return images / seconds


def _finite(values: dict[str, float]) -> dict[str, float]:
    """A gradient norm may overflow in float16; JSON has no infinity."""
    return {k: v for k, v in values.items() if math.isfinite(v)}


def images_per_second(state: TrainState) -> float:
    """Training images per second of training; 0 while nothing was timed."""
    return state.images / state.seconds if state.seconds else 0.0


@dataclasses.dataclass
class ValidationCallback:
    """Evaluates the weights that would ship on the validation rows."""

    plan: Timetable
    clock: PhaseTimer
    evaluator: Evaluator
    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    metrics: MetricsLog
    summaries: TensorBoardWriter
    progress: Progress
    heartbeat: Heartbeat
    scores: EvalMetrics | None = None

    def __call__(self, state: TrainState, _outcome: StepOutput | None = None) -> None:
        """Scores the validation rows if it is time."""
        if not self.plan.evaluate(state.step):
            return
        self.heartbeat.beat("evaluate", state.step)
        with self.clock.phase("evaluate"):
            self.scores = self.measure(state)
        epoch = self.plan.epoch(state.step)
        values = {"loss": self.scores.loss, "accuracy": self.scores.accuracy}
        views = self.evaluator.tta
        self.metrics.write(
            state.step, epoch, "validation", **values, eval_tta=views.value
        )
        tagged = {f"validation/{k}": v for k, v in values.items()}
        self.summaries.scalars(state.step, tagged)
        if self._picture_due(state.step):
            with self.clock.phase("evaluate"):
                self._draw(state.step, self.scores.confusion)
        self.progress.say(
            f"epoch {epoch:.4g}: validation accuracy {self.scores.accuracy:.4f}, "
            f"loss {self.scores.loss:.4f}{views.words}"
        )

    def measure(self, state: TrainState) -> EvalMetrics:
        """Scores of the weights that would ship, whether it is time or not."""
        self.evaluator.load(eval_weights(state.arrays()))

        answers = len(self.images) * evaluator.count_views(self.evaluator.tta)
        with self.progress.count(answers, "validation") as tick:

            def beat(count: int) -> None:
                self.heartbeat.beat("evaluate", state.step)
                tick(count)

            return compute_metrics(
                self.evaluator.logits(self.images, beat), self.labels
            )

    def _draw(self, step: int, confusion: np.ndarray) -> None:
        def draw() -> np.ndarray:
            return pictures.confusion_picture(confusion, self.names)

        what = "the picture validation/confusion"
        if (drawn := pictures.attempt(draw, what, self.progress.say)) is not None:
            self.summaries.picture(step, "validation/confusion", drawn)

    def _picture_due(self, step: int) -> bool:
        every = self.plan.evaluate
        count = -(-every.last // every.steps)
        sparse = Interval(every.steps * -(-count // PICTURES), every.last)
        return sparse(step)


@dataclasses.dataclass
class CheckpointCallback:
    """Writes checkpoints, by step or so that at most a minute of work is at risk."""

    plan: Timetable
    clock: PhaseTimer
    run: Run
    keep: int
    facts: dict
    before: list[Callable[[], None]]
    confirm: Callable[[], None]
    progress: Progress
    heartbeat: Heartbeat
    saved_at: float
    saved_step: int = -1

    def __call__(self, state: TrainState, _outcome: StepOutput | None = None) -> None:
        """Saves if it is time, and after the last step."""
        late = (
            self.plan.save.steps is None
            and self.clock.now() - self.saved_at > RISK_SECS
        )
        if late or self.plan.save(state.step) or state.step == self.plan.total_steps:
            self.now(state)

    def now(self, state: TrainState, *, last: bool = False) -> None:
        """Saves unless this very step is saved already.

        A disk that is full or gone is reported, and tried again when the next save is
        due; for the `last` save it ends the process with 175. What does not pass ends
        it at once.
        """
        if self.saved_step == state.step:
            return
        self.heartbeat.beat("save", state.step)
        with self.clock.phase("save"):
            try:
                self._write(state)
                self.saved_step = state.step
            except OSError as error:
                self._report(error, last=last or state.step == self.plan.total_steps)
        self.saved_at = self.clock.now()

    def _write(self, state: TrainState) -> None:
        self.confirm()  # before folders are made anew where the run was moved away
        for make_durable in self.before:  # a checkpoint vouches for the lines up to it
            make_durable()
        arrays = state.arrays()
        facts = self.facts | state.facts(arrays)
        if odd := [k for k, a in arrays.items() if not np.isfinite(a).all()]:
            raise TrainingFailed(
                f"{odd[0]} is not finite after step {state.step}; last good "
                f"checkpoint: {latest_checkpoint(self.run)};\n"
                f"{errors.DIVERGENCE_REMEDY}"
            )
        checkpoints.save(self.run.checkpoints, arrays, facts, confirm=self.confirm)
        checkpoints.prune(self.run.checkpoints, self.keep, last=state.step)

    def _report(self, error: OSError, *, last: bool) -> None:
        message = f"the checkpoint could not be saved in {self.run.checkpoints}"
        if last or not storage.meaning(error).passing:
            raise as_failure(message, error) from error
        self.progress.say(
            f"{message}: {storage.reason(error)}; the one before is kept, trying again "
            "later"
        )


@dataclasses.dataclass
class ProgressCallback:
    """The progress line.

    Attributes:
        timed: when the first call, which compiles, had ended, and the step it reached.
    """

    plan: Timetable
    progress: Progress
    clock: PhaseTimer
    timed: tuple[float, int] | None = None

    def __call__(self, state: TrainState, _outcome: StepOutput) -> None:
        """Shows step, ETA, and means since the last line of metrics."""
        means, total = state.sums.means(), self.plan.total_steps
        self.progress.update(
            f"step {state.step}/{total}  ETA {self._eta(state.step)}  "
            f"epoch {self.plan.epoch(state.step):.2f}  loss {means['loss']:.4f}  "
            f"acc {means['accuracy']:.3f}  {images_per_second(state):,.0f} images/s",
            last=state.step == total,
        )

    def _eta(self, step: int) -> str:
        if self.timed is None:
            self.timed = (self.clock.now(), step)
            return "-"
        secs, done = self.clock.now() - self.timed[0], step - self.timed[1]
        return duration(secs / done * (self.plan.total_steps - step))


@dataclasses.dataclass(frozen=True)
class StopOnSignal:
    """Saves and ends the process when a signal asked for it.

    Workers stop after the same call: the one whose outcome told all of the signal.
    """

    request: StopRequest
    run: Run
    alone: bool
    save: CheckpointCallback | None  # the chief's

    def __call__(self, state: TrainState, outcome: StepOutput) -> None:
        """Raises Stopped after a checkpoint."""
        asked = outcome.asked or (self.request.number if self.alone else 0)
        if not asked:
            return
        if self.save is not None:
            self.save.now(state, last=True)
        raise stopped(
            asked,
            f"after step {state.step}, saved; the same command with "
            f"--run_dir={self.run.path} resumes",
        )


@dataclasses.dataclass(frozen=True)
class HeartbeatCallback:
    """Leaves a sign of progress after each call."""

    heartbeat: Heartbeat

    def __call__(self, state: TrainState, _outcome: StepOutput) -> None:
        """Says that training got to the state's step."""
        self.heartbeat.beat("train", state.step)


if typing.TYPE_CHECKING:
    from trainer.training.session import TrainingSession

PICTURED = 32  # augmented images in the grid


def default_callbacks(
    job: "TrainingSession",
) -> tuple[list[Callback], ValidationCallback | None]:
    """The actions, and among them the validation if rows are held out.

    Log, then validate, then save: what a checkpoint of step s is kept with is all that
    was written up to s.
    """
    finite = NanGuard(job.config, job.plan, job.run)
    alone, beat = job.cluster.workers == 1, HeartbeatCallback(job.heartbeat)
    if not job.cluster.chief:
        stop = StopOnSignal(job.request, job.run, alone, None)
        return [finite, beat, stop], None
    say = job.progress.say
    events = tensorboard.TensorBoardWriter(job.run.tensorboard, job.lease.attempt, say)
    lines = metrics_log.MetricsLog(job.run.metrics, say)
    if job.state.step == 0:
        _write_first_summaries(job, events)
    first, now = job.state.step, job.clock.now()
    report = ProgressCallback(job.plan, job.progress, job.clock)
    since = (job.state.seconds, job.state.images)
    log = MetricsCallback(job.plan, job.clock, job.config, lines, events, since)
    validate = (
        _validation_callback(job, lines, events) if len(job.data.held_out) else None
    )
    save = _checkpoint_callback(job, [lines.sync, events.sync])
    stop = StopOnSignal(job.request, job.run, alone, save)
    acting: list[Callback] = [finite, beat, report, log]
    acting += [validate] if validate else []
    acting += [save, stop]
    if kubeflow.in_trainjob():
        acting.append(kubeflow.TrainJobStatus(job.plan, job.clock.now, now, first))
    if job.run_config.profile_steps:
        start, end = job.run_config.profile_steps
        acting.append(ProfileCallback(start, end, str(job.run.tensorboard)))
    return acting, validate


def _checkpoint_callback(
    job: "TrainingSession", before: list[Callable[[], None]]
) -> CheckpointCallback:
    return CheckpointCallback(
        plan=job.plan,
        clock=job.clock,
        run=job.run,
        keep=job.run_config.keep_checkpoints,
        facts={
            "config": job.config.to_json(),
            "data": job.data.recorded(),
            "packages": job.environment["packages"],
            "place": environment.reproducibility_key(job),
        },
        before=before,
        confirm=job.lease.confirm,
        progress=job.progress,
        heartbeat=job.heartbeat,
        saved_at=job.clock.now(),
    )


def _validation_callback(
    job: "TrainingSession",
    lines: metrics_log.MetricsLog,
    events: tensorboard.TensorBoardWriter,
) -> ValidationCallback:
    split, rows = job.data.train, job.data.held_out
    return ValidationCallback(
        plan=job.plan,
        clock=job.clock,
        evaluator=job.evaluator,
        images=split.images[rows],
        labels=split.labels[rows],
        names=split.names,
        metrics=lines,
        summaries=events,
        progress=job.progress,
        heartbeat=job.heartbeat,
    )


def _write_first_summaries(
    job: "TrainingSession", events: tensorboard.TensorBoardWriter
) -> None:
    """The summaries of step 0: graph, hparams, a grid of augmented images."""
    settings = {}
    for name, value in job.config.to_json().items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, leaf in parts:
            key = f"{name}.{part}".rstrip(".")
            settings[key] = leaf if isinstance(leaf, int | float | str) else str(leaf)
    events.start(job.trainer.graph, settings)
    rows = next(job.calls(BlockSizer(1))).rows[0][:PICTURED]
    varied = job.trainer.augmented(rows).astype(np.uint8)
    split = job.data.train

    def grid() -> np.ndarray:
        return pictures.grid(varied, split.labels[rows], split.names)

    what = "the picture train/augmented"
    if (drawn := pictures.attempt(grid, what, job.progress.say)) is not None:
        events.picture(0, "train/augmented", drawn)


@dataclasses.dataclass
class ProfileCallback:
    """Records a TensorBoard profile of the calls that cover steps first..last."""

    first: int
    last: int
    directory: str
    running: bool = False

    def __call__(self, state: TrainState, _outcome: StepOutput) -> None:
        """Starts and stops the profiler between calls."""
        if not self.running and self.first - 1 <= state.step < self.last:
            tf.profiler.experimental.start(self.directory)
            self.running = True
        elif self.running and state.step >= self.last:
            tf.profiler.experimental.stop()
            self.running = False
