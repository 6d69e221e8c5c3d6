"""Timetable: converts epochs to steps, and says at which steps something is due."""

import dataclasses
import math

from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.optim import schedules

EPOCH_TOLERANCE = 0.05  # by which a whole number may be missed


@dataclasses.dataclass(frozen=True)
class Interval:
    """Steps that are a multiple of `steps`, and the last step; None: no step."""

    steps: int | None
    last: int

    def __call__(self, step: int) -> bool:
        """Whether something is due after `step` steps."""
        return self.steps is not None and (step % self.steps == 0 or step == self.last)

    def after(self, step: int) -> int:
        """Finds the next due step after `step`."""
        if self.steps is None:
            return self.last
        return min(self.last, (step // self.steps + 1) * self.steps)


@dataclasses.dataclass(frozen=True)
class Timetable:
    """The number of steps, and when to log, validate and save.

    A compiled call ends at each step at which an Interval of it is due.

    Attributes:
        save: multiples of `checkpoint_every_steps`; without that, time decides.
        stops: further steps after which a compiled call has to end.
        small_steps: number of first steps with small images.
        frozen_steps: number of first steps before `unfreeze_epoch`.
        pause: step after which the process saves and ends; None: the last one.
    """

    total_steps: int
    warmup_steps: int
    steps_per_epoch: float
    log: Interval
    evaluate: Interval
    save: Interval
    stops: tuple[int, ...] = ()
    small_steps: int = 0
    frozen_steps: int = 0
    pause: int | None = None

    def epoch(self, step: int) -> float:
        """Converts steps to epochs."""
        return step / self.steps_per_epoch

    def next_stop(self, step: int) -> int:
        """Finds the first step after `step` at which a compiled call has to end."""
        due = [e.after(step) for e in vars(self).values() if isinstance(e, Interval)]
        return min(due + [stop for stop in self.stops if stop > step])


def format_epoch(epoch: float) -> str:
    """Formats a number of epochs; steps rarely end with one exactly.

    >>> [format_epoch(epoch) for epoch in (3.015, 5.93, 0.5931, 29.96)]
    ['3', '5.9', '0.6', '30']
    """
    whole = round(epoch)
    if whole and abs(epoch - whole) < EPOCH_TOLERANCE:
        return str(whole)
    return f"{epoch:.1f}" if epoch >= EPOCH_TOLERANCE else f"{epoch:.2g}"


def build_timetable(config: Config, run_config: RunConfig, num_rows: int) -> Timetable:
    """Builds the timetable for `num_rows` training rows.

    Raises:
        ValueError: warm-up, frozen layers or a profile need more steps than there are.
    """
    per_epoch = num_rows / config.global_batch
    total = config.train_steps
    if total is None:
        # The rounding keeps 9.9 x 50,000 / 500 = 990.0000000000001 from becoming 991.
        total = max(1, math.ceil(round(config.epochs * per_epoch, 6)))
    warmup = schedules.warmup_steps(config.optim, per_epoch, total)
    if warmup and warmup >= total:
        raise ValueError(
            f"warmup_epochs={config.optim.warmup_epochs} are {warmup} steps and must "
            f"be fewer than the {total} steps of training; lower `warmup_epochs`"
        )
    if run_config.profile_steps and run_config.profile_steps[1] > total:
        raise ValueError(
            f"profile_steps={run_config.profile_steps[0]}:{run_config.profile_steps[1]}"
            f" must end at or before the last step, {total}"
        )
    evaluate = max(1, round(run_config.eval_every_epochs * per_epoch))
    first, last = run_config.profile_steps or (1, 1)
    validations = Interval(evaluate, total)
    return Timetable(
        total_steps=total,
        warmup_steps=warmup,
        steps_per_epoch=per_epoch,
        log=Interval(run_config.log_every_steps, total),
        evaluate=validations,
        save=Interval(run_config.checkpoint_every_steps, total),
        # A profile has a mark for each call, so each of its steps is a call.
        stops=tuple(range(first - 1, last + 1)),
        small_steps=_small_steps(config, total),
        frozen_steps=_frozen_steps(config, per_epoch, total),
        pause=_pause(run_config.pause_at, validations),
    )


def _small_steps(config: Config, total: int) -> int:
    if not config.data.progressive_size:
        return 0
    return round(config.data.progressive_fraction * total)


def _pause(fraction: float | None, validations: Interval) -> int | None:
    """Finds the validation nearest to `fraction`, unless it is the last step.

    Not the next one: where epochs are no whole steps, a validation that was meant comes
    just before the fraction, and the next one doubled the first stage of a study.
    """
    if fraction is None:
        return None
    aim = fraction * validations.last
    before = int(aim / validations.steps) * validations.steps
    near = [step for step in (before, validations.after(before)) if step]
    pause = min(near, key=lambda step: (abs(step - aim), step))
    return pause if pause < validations.last else None


def _frozen_steps(config: Config, per_epoch: float, total: int) -> int:
    epoch = config.model.unfreeze_epoch
    if epoch is None:
        return 0
    steps = max(1, round(epoch * per_epoch))
    if steps >= total:
        raise ValueError(
            f"unfreeze_epoch={epoch} is step {steps} and must be before the last of "
            f"{total} steps; lower it, or leave it out to keep the layers frozen"
        )
    return steps
