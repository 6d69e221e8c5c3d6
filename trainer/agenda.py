"""Which actions a job takes after each call, in the order that a resume relies on."""

import typing
from collections.abc import Callable

import numpy as np

from trainer import actions, environment, metrics, pictures, summaries, trainjob
from trainer.clock import Pace
from trainer.loop import Action
from trainer.profile import Profile

if typing.TYPE_CHECKING:
    from trainer.job import Job

PICTURED = 32  # augmented images in the grid


def make(job: "Job") -> tuple[list[Action], actions.Validate | None]:
    """The actions, and among them the validation if rows are held out.

    Log, then validate, then save: what a checkpoint of step s is kept with is all that
    was written up to s.
    """
    finite = actions.RefuseNonFinite(job.config, job.plan, job.run)
    alone, beat = job.cluster.workers == 1, actions.Beat(job.heartbeat)
    if not job.cluster.chief:
        stop = actions.StopWhenAsked(job.request, job.run, alone, None)
        report = actions.Report(job.plan, job.progress, job.clock, means=False)
        return [finite, beat, report, stop], None
    say = job.progress.say
    events = summaries.Summaries(job.run.tensorboard, job.lease.attempt, say)
    lines = metrics.Metrics(job.run.metrics, say)
    if job.state.step == 0:
        with job.progress.phase("writing the first summaries"):
            _introduce(job, events)
    first, now = job.state.step, job.clock.now()
    report = actions.Report(job.plan, job.progress, job.clock)
    since = (job.state.seconds, job.state.images)
    log = actions.Log(job.plan, job.clock, job.config, lines, events, since)
    validate = _validate(job, lines, events) if len(job.data.held_out) else None
    save = _save(job, [lines.sync, events.sync])
    stop = actions.StopWhenAsked(job.request, job.run, alone, save)
    acting: list[Action] = [finite, beat, report, log]
    acting += [validate] if validate else []
    acting += [save, stop]
    if trainjob.present():
        acting.append(trainjob.TrainJobStatus(job.plan, job.clock.now, now, first))
    if job.run_config.profile_steps:
        start, end = job.run_config.profile_steps
        acting.append(Profile(start, end, str(job.run.tensorboard)))
    return acting, validate


def _save(job: "Job", before: list[Callable[[], None]]) -> actions.Save:
    return actions.Save(
        plan=job.plan,
        clock=job.clock,
        run=job.run,
        keep=job.run_config.keep_checkpoints,
        facts={
            "config": job.config.to_json(),
            "data": job.data.recorded(),
            "packages": job.environment["packages"],
            "place": environment.place(job),
        },
        before=before,
        confirm=job.lease.confirm,
        progress=job.progress,
        heartbeat=job.heartbeat,
        saved_at=job.clock.now(),
    )


def _validate(
    job: "Job", lines: metrics.Metrics, events: summaries.Summaries
) -> actions.Validate:
    split, rows = job.data.train, job.data.held_out
    return actions.Validate(
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


def _introduce(job: "Job", events: summaries.Summaries) -> None:
    """The summaries of step 0: graph, hparams, a grid of augmented images."""
    settings = {}
    for name, value in job.config.to_json().items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, leaf in parts:
            key = f"{name}.{part}".rstrip(".")
            settings[key] = leaf if isinstance(leaf, int | float | str) else str(leaf)
    events.start(job.trainer.graph, settings)
    rows = next(job.calls(Pace(1))).rows[0][:PICTURED]
    varied = job.trainer.augmented(rows).astype(np.uint8)
    split = job.data.train

    def grid() -> np.ndarray:
        return pictures.grid(varied, split.labels[rows], split.names)

    what = "the picture train/augmented"
    if (drawn := pictures.attempt(grid, what, job.progress.say)) is not None:
        events.picture(0, "train/augmented", drawn)
