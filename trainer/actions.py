"""Every side effect of the loop: called with the state and what the call measured."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from trainer import checkpoints, optim, pictures, storage, tta
from trainer.clock import Clock
from trainer.commandline import Failure, lost
from trainer.config import Config
from trainer.evaluation import Evaluator, Scores, score
from trainer.heartbeat import Heartbeat
from trainer.metrics import Metrics
from trainer.plan import Every, Plan
from trainer.progress import Progress, duration
from trainer.runs import Run
from trainer.signals import StopRequest, stopped
from trainer.state import Sums, TrainState, shipped
from trainer.steps import METRICS, Outcome
from trainer.summaries import Summaries

RISK_SECS = 45.0  # between saves; with a call and the save itself under a minute
REMEDY = "lower --learning_rate or set --clip_norm=1"
PICTURES = 10  # confusion matrices over a run


@dataclasses.dataclass(frozen=True)
class RefuseNonFinite:
    """Ends training when a loss is not finite, before anything of it is saved."""

    config: Config
    plan: Plan
    run: Run

    def __call__(self, state: TrainState, outcome: Outcome) -> None:
        """Raises Failure with the step, its rate and the last good checkpoint."""
        losses = outcome.metrics[:, METRICS.index("loss")]
        if np.isfinite(losses).all():
            return
        first = int(np.argmin(np.isfinite(losses)))
        step = state.step - len(losses) + first
        rate = _rate(step, self.config, self.plan)
        raise Failure(
            f"the loss of step {step} is {losses[first]} at rate {rate:.3g}; "
            f"last good checkpoint: {last_good(self.run)};\n{REMEDY}"
        )


def _rate(step: int, config: Config, plan: Plan) -> float:
    steps = {"warmup_steps": plan.warmup_steps, "total_steps": plan.total_steps}
    return optim.rate(step, config.optim, **steps)


def last_good(run: Run) -> str:
    """Folder of the newest checkpoint: none is written that is not finite."""
    kept = checkpoints.listed(run.checkpoints)
    return str(kept[0]) if kept else "none"


@dataclasses.dataclass
class Log:
    """Writes the means since the last line to metrics.jsonl and TensorBoard."""

    plan: Plan
    clock: Clock
    config: Config
    metrics: Metrics
    summaries: Summaries
    since: tuple[float, int]  # seconds and images of training at the last line

    def __call__(self, state: TrainState, outcome: Outcome) -> None:
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
        state.sums = Sums()

    def _speed(self, state: TrainState, outcome: Outcome) -> float:
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
class Validate:
    """Evaluates the weights that would ship on the validation rows."""

    plan: Plan
    clock: Clock
    evaluator: Evaluator
    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    metrics: Metrics
    summaries: Summaries
    progress: Progress
    heartbeat: Heartbeat
    scores: Scores | None = None

    def __call__(self, state: TrainState, _outcome: Outcome | None = None) -> None:
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

    def measure(self, state: TrainState) -> Scores:
        """Scores of the weights that would ship, whether it is time or not."""
        self.evaluator.load(shipped(state.arrays()))

        answers = len(self.images) * tta.count(self.evaluator.tta)
        with self.progress.count(answers, "validation") as tick:

            def beat(count: int) -> None:
                self.heartbeat.beat("evaluate", state.step)
                tick(count)

            return score(self.evaluator.logits(self.images, beat), self.labels)

    def _draw(self, step: int, confusion: np.ndarray) -> None:
        def draw() -> np.ndarray:
            return pictures.confusion_picture(confusion, self.names)

        what = "the picture validation/confusion"
        if (drawn := pictures.attempt(draw, what, self.progress.say)) is not None:
            self.summaries.picture(step, "validation/confusion", drawn)

    def _picture_due(self, step: int) -> bool:
        every = self.plan.evaluate
        count = -(-every.last // every.steps)
        sparse = Every(every.steps * -(-count // PICTURES), every.last)
        return sparse(step)


@dataclasses.dataclass
class Save:
    """Writes checkpoints, by step or so that at most a minute of work is at risk."""

    plan: Plan
    clock: Clock
    run: Run
    keep: int
    facts: dict
    before: list[Callable[[], None]]
    confirm: Callable[[], None]
    progress: Progress
    heartbeat: Heartbeat
    saved_at: float
    saved_step: int = -1

    def __call__(self, state: TrainState, _outcome: Outcome | None = None) -> None:
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
            raise Failure(
                f"{odd[0]} is not finite after step {state.step}; last good "
                f"checkpoint: {last_good(self.run)};\n{REMEDY}"
            )
        checkpoints.write(self.run.checkpoints, arrays, facts, confirm=self.confirm)
        checkpoints.prune(self.run.checkpoints, self.keep, last=state.step)

    def _report(self, error: OSError, *, last: bool) -> None:
        message = f"the checkpoint could not be saved in {self.run.checkpoints}"
        if last or not storage.meaning(error).passing:
            raise lost(message, error) from error
        self.progress.say(
            f"{message}: {storage.reason(error)}; the one before is kept, trying again "
            "later"
        )


@dataclasses.dataclass
class Report:
    """The progress line.

    Attributes:
        means: whether it has the means since the last line of metrics: only the chief
            writes those.
        timed: when the first call, which compiles, had ended, and the step it reached.
    """

    plan: Plan
    progress: Progress
    clock: Clock
    means: bool = True
    timed: tuple[float, int] | None = None

    def __call__(self, state: TrainState, _outcome: Outcome) -> None:
        """Shows step, ETA, speed and `means`."""
        total, shown = self.plan.total_steps, ""
        if self.means:
            means = state.sums.means()
            shown = f"loss {means['loss']:.4f}  acc {means['accuracy']:.3f}  "
        self.progress.update(
            f"step {state.step}/{total}  ETA {self._eta(state.step)}  "
            f"epoch {self.plan.epoch(state.step):.2f}  {shown}"
            f"{images_per_second(state):,.0f} images/s",
            last=state.step == total,
        )

    def _eta(self, step: int) -> str:
        if self.timed is None:
            self.timed = (self.clock.now(), step)
            return "-"
        secs, done = self.clock.now() - self.timed[0], step - self.timed[1]
        return duration(secs / done * (self.plan.total_steps - step))


@dataclasses.dataclass(frozen=True)
class StopWhenAsked:
    """Saves and ends the process when a signal asked for it.

    Workers stop after the same call: the one whose outcome told all of the signal.
    """

    request: StopRequest
    run: Run
    alone: bool
    save: Save | None  # the chief's

    def __call__(self, state: TrainState, outcome: Outcome) -> None:
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
class Beat:
    """Leaves a sign of progress after each call."""

    heartbeat: Heartbeat

    def __call__(self, state: TrainState, _outcome: Outcome) -> None:
        """Says that training got to the state's step."""
        self.heartbeat.beat("train", state.step)
