"""One training from data to result.json: what trainer.main does once flags are good."""

import contextlib
import dataclasses
import errno
import shutil
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from trainer import (
    agenda,
    agreement,
    blame,
    checkpoints,
    cluster,
    data,
    environment,
    files,
    flags,
    flops,
    lessons,
    loop,
    metrics,
    network,
    owner,
    plan,
    quiet,
    result,
    resumption,
    runs,
    sampler,
    steps,
    summaries,
    tta,
)
from trainer.choices import Strategy
from trainer.clock import Clock, Pace
from trainer.commandline import UsageError, refused
from trainer.config import Config
from trainer.evaluation import Evaluator, Scores, score
from trainer.forecast import Forecast
from trainer.heartbeat import Heartbeat
from trainer.images import Images
from trainer.nested import plain
from trainer.progress import CONSOLE, Progress, duration
from trainer.run_config import RunConfig
from trainer.runs import Run
from trainer.signals import StopRequest
from trainer.state import TrainState, shipped

PHASES = {
    "devices": "looking for devices",
    "data": "reading the data set",
    "build": "building the network",
    "restore": "restoring the last checkpoint",
    "teach": "asking the teacher",
    "compile": "compiling the first call",
    "train": "training",
    "evaluate": "evaluating the validation rows",
    "save": "saving a checkpoint",
    "test": "testing",
}


@dataclasses.dataclass(kw_only=True)
class Job:
    """Everything that one training needs."""

    run: Run
    config: Config
    run_config: RunConfig
    clock: Clock
    progress: Progress
    request: StopRequest
    heartbeat: Heartbeat
    cluster: cluster.Cluster
    environment: dict[str, Any]
    data: data.Data
    plan: plan.Plan
    state: TrainState
    images: Images
    trainer: steps.Trainer
    evaluator: Evaluator
    lease: owner.Lease | None = None  # the chief's

    def calls(self, pace: Pace) -> Iterator[loop.Call]:
        """The calls from where the state is to the last step."""
        rows = sampler.Sampler(
            self.data.learnt,
            global_batch=self.config.global_batch,
            seed=self.config.seed,
        )
        return loop.calls(self.state, self.plan, rows, self.config.optim, pace)


def train(
    run: Run, config: Config, run_config: RunConfig, request: StopRequest
) -> None:
    """Starts or resumes the training in `run`."""
    worker, workers = cluster.place(run_config)
    beats = Heartbeat(run.path / "workers", worker, workers, run_config.hang_secs)
    with _signing_off(beats, run_config):
        job = assemble(run, config, run_config, request, beats)
        with contextlib.closing(job.progress), blame.explaining(job):
            agreement.check_data(job)
            if run_config.dry_run:
                _rehearse(job)
                return
            with _owning(job):
                with job.progress.phase(PHASES["restore"]):
                    resumed = resumption.restore(job)
                    _record(job, resumed=resumed)
                lessons.learn(job)
                scores = _run(job)
                _finish(job, scores)


@contextlib.contextmanager
def _signing_off(beats: Heartbeat, run_config: RunConfig) -> Iterator[None]:
    """Wrong usage and a rehearsal write nothing: the sign is taken back."""
    try:
        yield
    except UsageError:
        beats.leave()
        raise
    if run_config.dry_run:
        beats.leave()


def assemble(
    run: Run,
    config: Config,
    run_config: RunConfig,
    request: StopRequest,
    beats: Heartbeat,
) -> Job:
    """Devices, data, plan, state and the compiled step; writes nothing but signs."""
    clock = Clock(show=lambda name: CONSOLE.phase(PHASES[name]))
    threads, connected = _connect(config, run_config, beats, clock)
    request.install()  # TensorFlow takes SIGTERM when it makes a cluster
    cluster.check_shares(config, connected.replicas)
    with clock.phase("data"):
        held = data.load(config, run_config, say=CONSOLE.say)
    planned = _plan(config, run_config, held)
    lessons.check(run, config, run_config, held)
    with quiet.start_up(), clock.phase("build"):
        state, images, trainer = network.build(config, connected, held, planned)
        evaluator = network.evaluator(config, run_config, connected, held)
    return Job(
        run=run,
        config=config,
        run_config=run_config,
        clock=clock,
        progress=CONSOLE,
        request=request,
        heartbeat=beats,
        cluster=connected,
        environment=environment.describe(threads),
        data=held,
        plan=planned,
        state=state,
        images=images,
        trainer=trainer,
        evaluator=evaluator,
    )


def _connect(
    config: Config, run_config: RunConfig, beats: Heartbeat, clock: Clock
) -> tuple[int, cluster.Cluster]:
    """The threads of a worker, and the cluster once all are there and agree."""
    with quiet.start_up(), clock.phase("devices"):
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        threads = cluster.set_threads(run_config.threads)
    if run_config.strategy is Strategy.MULTI_WORKER:
        beats.meet(agreement.facts(config, run_config), CONSOLE.say)
    with quiet.start_up(), clock.phase("devices"):
        connected = cluster.connect(run_config)
    beats.beat("start")
    return threads, connected


def _plan(config: Config, run_config: RunConfig, held: data.Data) -> plan.Plan:
    try:
        return plan.make(config, run_config, len(held.learnt))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _rehearse(job: Job) -> None:
    """--dry_run: steps, their time, the plan; nothing is written."""
    _check_space(job)
    call, small = next(job.calls(Pace(1))), job.plan.small_steps
    counts = {0: small, small: job.plan.total_steps - small}  # by their first step
    secs = {}
    for step in (step for step, count in counts.items() if count):
        job.trainer(step, call.rows, call.rates)
        start = time.monotonic()
        outcome = job.trainer(step, call.rows, call.rates)
        secs[step] = time.monotonic() - start
    _say_plan(job)
    count = flops.training(
        job.config, job.plan, job.data.image_shape, len(job.data.train.names)
    )
    job.progress.say(
        f"{count / 1e15:.3g} petaFLOP in convolutions and dense layers (a multiply-add "
        "is two, backward is two forwards)"
    )
    if job.config.teacher is not None:
        job.progress.say("the teacher is not asked: in this step it answers zeros")
    print(
        f"a step takes {' s, later '.join(f'{each:.3f}' for each in secs.values())} s "
        f"(loss {outcome.metrics[0, 0]:.4f}), all about "
        f"{duration(sum(counts[step] * each for step, each in secs.items()))}; "
        "nothing was written"
    )


def _say_plan(job: Job) -> None:
    forecast = Forecast.of(job.trainer.body, job.config, job.cluster, job.data)
    for line in forecast.lines(job):
        job.progress.say(line)


def _check_space(job: Job) -> None:
    """Ends the process unless the checkpoints to keep fit on the disk.

    Raises:
        UsageError: the run is new: its flags are too large for its disk.
        Stopped: with 175, at a restart the disk is full.
    """
    each = sum(v.numpy().nbytes for v in job.state.variables().values())
    kept = job.run_config.keep_checkpoints
    have = len(checkpoints.listed(job.run.checkpoints))
    need = each * max(1, kept + 1 - have)
    parent = next(p for p in (job.run.path, *job.run.path.parents) if p.exists())
    free = shutil.disk_usage(parent).free
    if need > free:
        said = f"{need:,} bytes more are needed for {kept} checkpoints, {free:,} free"
        error = OSError(errno.ENOSPC, f"{said} (see --keep_checkpoints)", str(parent))
        restart = job.run.exists and not job.run_config.dry_run
        raise refused(f"the run cannot go to {job.run.path}", error, restart=restart)


@contextlib.contextmanager
def _owning(job: Job) -> Iterator[None]:
    """Holds the run directory inside; only the chief does."""
    if not job.cluster.chief:
        yield
        return
    _check_space(job)
    path = job.run.path
    there, restart = path.exists(), job.run.exists
    try:
        job.lease = owner.take(path, say=job.progress.say)
    except OSError as error:
        if not there:
            with contextlib.suppress(OSError):
                path.rmdir()
        what = f"the run cannot go to {path}"
        raise refused(what, error, restart=restart) from error
    try:
        runs.admit(job.run, job.config, job.run_config)  # the last owner left it so
        yield
    finally:
        job.lease.release()


def _record(job: Job, *, resumed: bool) -> None:
    """Writes what a run directory has from the start; drops what a kill left behind."""
    if not job.cluster.chief:
        return
    run, step = job.run, job.state.step
    run.tensorboard.mkdir(exist_ok=True)
    run.checkpoints.mkdir(exist_ok=True)
    checkpoints.sweep(run.checkpoints)
    run.sweep()
    summaries.keep_until(run.tensorboard, step, job.progress.say)
    metrics.keep_until(run.metrics, step, job.progress.say)
    if not resumed:
        files.write_bytes(run.path / "flags.txt", flags.flag_file().encode())
        run.write("environment.json", job.environment)
        recorded = {
            "version": 1,
            "config": job.config.to_json(),
            "run": plain(dataclasses.asdict(job.run_config)),
            "data": job.data.recorded(),
        }
        run.write("config.json", recorded)
    runs.make_latest(run, job.progress.say)
    _say_plan(job)


def _run(job: Job) -> Scores | None:
    """Trains to the last step; returns the scores of the validation rows, if any."""
    pace = Pace(job.run_config.steps_per_call)
    run_steps = loop.timed(job.trainer, job.state, job.clock, pace, job.request)
    acting, validate = agenda.make(job)
    job.request.defer()
    job.heartbeat.beat("compile", job.state.step)
    loop.train(job.state, run_steps, acting, calls=job.calls(pace))
    if validate is None:
        return None
    return validate.scores or validate.measure(job.state)


def _finish(job: Job, validation: Scores | None) -> None:
    """Scores the test split, once, and writes result.json."""

    def beat(_: int = 0) -> None:
        job.heartbeat.beat("evaluate", job.state.step)

    beat()
    if not job.cluster.chief:
        return
    job.request.allow(f"after step {job.state.step}, saved, before the test")
    with job.clock.phase("test"):
        job.evaluator.load(shipped(job.state.arrays()))
        test = job.data.test
        answers = len(test.images) * tta.count(job.evaluator.tta)
        with job.progress.count(answers, "test") as tick:
            logits = job.evaluator.logits(test.images, lambda n: (beat(), tick(n)))
        scores = score(logits, test.labels)
    job.request.defer()
    described = result.conclude(job, validation, scores)
    job.heartbeat.beat("done", job.state.step)
    print(runs.closing(job.run, described))
