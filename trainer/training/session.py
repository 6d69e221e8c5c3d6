"""One training from data to result.json: what trainer.main does once flags are good."""

import contextlib
import dataclasses
import errno
import shutil
import time
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from trainer import files
from trainer.cli import flags
from trainer.config.enums import Flip, Strategy
from trainer.config.schema import Config, RunConfig
from trainer.config.serialization import to_plain
from trainer.data import dataset, sampler
from trainer.data.augmentation import AlternatingFlip
from trainer.data.device_dataset import DeviceDataset
from trainer.distillation import soft_labels, targets, teacher
from trainer.distributed import agreement, environment, error_translation, strategy
from trainer.distributed.heartbeat import Heartbeat
from trainer.distributed.shutdown import StopRequest
from trainer.errors import UsageError
from trainer.models import builder, registry
from trainer.models import evaluator as models_evaluator
from trainer.models.evaluator import EvalMetrics, Evaluator, compute_metrics
from trainer.monitoring import metrics_log, native_output, tensorboard
from trainer.monitoring.progress import CONSOLE, PhaseTimer, Progress, duration
from trainer.optim import optimizers
from trainer.rundir import checkpoints, checks, layout, lease, resume
from trainer.rundir.layout import Run
from trainer.rundir.lease import Lease
from trainer.rundir.weights import eval_weights
from trainer.storage import as_refusal
from trainer.training import callbacks, estimate, loop, result, step, timetable
from trainer.training import step as training_step
from trainer.training.estimate import ResourceEstimate
from trainer.training.loop import BlockSizer
from trainer.training.state import TrainState

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
class TrainingSession:
    """Everything that one training needs."""

    run: Run
    config: Config
    run_config: RunConfig
    clock: PhaseTimer
    progress: Progress
    request: StopRequest
    heartbeat: Heartbeat
    cluster: strategy.Cluster
    environment: dict[str, Any]
    data: dataset.Dataset
    plan: timetable.Timetable
    state: TrainState
    images: DeviceDataset
    trainer: training_step.TrainStep
    evaluator: Evaluator
    lease: Lease | None = None  # the chief's

    def calls(self, pace: BlockSizer) -> Iterator[loop.StepBlock]:
        """The calls from where the state is to the last step."""
        rows = sampler.Sampler(
            self.data.learnt,
            global_batch=self.config.global_batch,
            seed=self.config.seed,
        )
        return loop.step_blocks(self.state, self.plan, rows, self.config.optim, pace)


def train(
    run: Run, config: Config, run_config: RunConfig, request: StopRequest
) -> None:
    """Starts or resumes the training in `run`."""
    worker, workers = strategy.worker_index(run_config)
    beats = Heartbeat(run.path / "workers", worker, workers, run_config.hang_secs)
    with _signing_off(beats, run_config):
        job = build(run, config, run_config, request, beats)
        with contextlib.closing(job.progress), error_translation.translate_errors(job):
            agreement.check_data(job)
            if run_config.dry_run:
                _dry_run(job)
                return
            with _owning(job):
                with job.progress.phase(PHASES["restore"]):
                    resumed = resume.restore_latest(job)
                    _write_metadata(job, resumed=resumed)
                soft_labels.prepare_soft_labels(job)
                scores = _run(job)
                _evaluate_and_finish(job, scores)


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


def build(
    run: Run,
    config: Config,
    run_config: RunConfig,
    request: StopRequest,
    beats: Heartbeat,
) -> TrainingSession:
    """Devices, data, plan, state and the compiled step; writes nothing but signs."""
    CONSOLE.reminds = (
        strategy.worker_index(run_config)[0] == 0
    )  # the chief speaks for all
    clock = PhaseTimer(show=lambda name: CONSOLE.phase(PHASES[name]))
    threads, connected = _connect(config, run_config, beats, clock)
    request.install()  # TensorFlow takes SIGTERM when it makes a cluster
    strategy.check_shares(config, connected.replicas)
    with clock.phase("data"):
        held = dataset.load_dataset(config, run_config, say=CONSOLE.say)
    planned = _plan(config, run_config, held)
    teacher.check_teacher_run(run, config, run_config, held.recorded())
    with native_output.suppress_native_stderr(), clock.phase("build"):
        state, images, trainer = build_network(config, connected, held, planned)
        evaluator = build_evaluator(config, run_config, connected, held)
    return TrainingSession(
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
    config: Config, run_config: RunConfig, beats: Heartbeat, clock: PhaseTimer
) -> tuple[int, strategy.Cluster]:
    """The threads of a worker, and the cluster once all are there and agree."""
    with native_output.suppress_native_stderr(), clock.phase("devices"):
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        threads = strategy.set_threads(run_config.threads)
    if run_config.strategy is Strategy.MULTI_WORKER:
        beats.meet(agreement.facts(config, run_config), CONSOLE.say)
    with native_output.suppress_native_stderr(), clock.phase("devices"):
        connected = strategy.connect(run_config)
    beats.beat("start")
    return threads, connected


def _plan(
    config: Config, run_config: RunConfig, held: dataset.Dataset
) -> timetable.Timetable:
    try:
        return timetable.build_timetable(config, run_config, len(held.learnt))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _dry_run(job: TrainingSession) -> None:
    """--dry_run: steps, their time, the plan; nothing is written."""
    _check_space(job)
    call, small = next(job.calls(BlockSizer(1))), job.plan.small_steps
    counts = {0: small, small: job.plan.total_steps - small}  # by their first step
    secs = {}
    for first in (first for first, count in counts.items() if count):
        job.trainer(first, call.rows, call.rates)
        start = time.monotonic()
        outcome = job.trainer(first, call.rows, call.rates)
        secs[first] = time.monotonic() - start
    _say_plan(job)
    count = estimate.training_flops(
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
        f"{duration(sum(counts[first] * each for first, each in secs.items()))}; "
        "nothing was written"
    )


def _say_plan(job: TrainingSession) -> None:
    forecast = ResourceEstimate.of(job.trainer.body, job.config, job.cluster, job.data)
    for line in forecast.lines(job):
        job.progress.say(line)


def _check_space(job: TrainingSession) -> None:
    """Ends the process unless the checkpoints to keep fit on the disk.

    Raises:
        UsageError: the run is new: its flags are too large for its disk.
        Stopped: with 175, at a restart the disk is full.
    """
    each = sum(v.numpy().nbytes for v in job.state.variables().values())
    kept = job.run_config.keep_checkpoints
    have = len(checkpoints.list_folders(job.run.checkpoints))
    need = each * max(1, kept + 1 - have)
    parent = next(p for p in (job.run.path, *job.run.path.parents) if p.exists())
    free = shutil.disk_usage(parent).free
    if need > free:
        said = f"{need:,} bytes more are needed for {kept} checkpoints, {free:,} free"
        error = OSError(errno.ENOSPC, f"{said} (see --keep_checkpoints)", str(parent))
        restart = job.run.exists and not job.run_config.dry_run
        raise as_refusal(f"the run cannot go to {job.run.path}", error, restart=restart)


@contextlib.contextmanager
def _owning(job: TrainingSession) -> Iterator[None]:
    """Holds the run directory inside; only the chief does."""
    if not job.cluster.chief:
        yield
        return
    _check_space(job)
    path = job.run.path
    there, restart = path.exists(), job.run.exists
    try:
        job.lease = lease.acquire(path, say=job.progress.say)
    except OSError as error:
        if not there:
            with contextlib.suppress(OSError):
                path.rmdir()
        what = f"the run cannot go to {path}"
        raise as_refusal(what, error, restart=restart) from error
    try:
        checks.check_can_start(
            job.run, job.config, job.run_config
        )  # the last owner left it so
        yield
    finally:
        job.lease.release()


def _write_metadata(job: TrainingSession, *, resumed: bool) -> None:
    """Writes what a run directory has from the start; drops what a kill left behind."""
    if not job.cluster.chief:
        return
    run, step = job.run, job.state.step
    run.tensorboard.mkdir(exist_ok=True)
    run.checkpoints.mkdir(exist_ok=True)
    checkpoints.remove_partial(run.checkpoints)
    run.sweep()
    tensorboard.truncate_after(run.tensorboard, step, job.progress.say)
    metrics_log.truncate_after(run.metrics, step, job.progress.say)
    if not resumed:
        files.write_bytes(run.path / "flags.txt", flags.flag_file().encode())
        run.write("environment.json", job.environment)
        recorded = {
            "version": 1,
            "config": job.config.to_json(),
            "run": to_plain(dataclasses.asdict(job.run_config)),
            "data": job.data.recorded(),
        }
        run.write("config.json", recorded)
    layout.update_latest(run, job.progress.say)
    _say_plan(job)


def _run(job: TrainingSession) -> EvalMetrics | None:
    """Trains to the last step; returns the scores of the validation rows, if any."""
    pace = BlockSizer(job.run_config.steps_per_call)
    run_steps = loop.timed_step(job.trainer, job.state, job.clock, pace, job.request)
    acting, validate = callbacks.default_callbacks(job)
    job.request.defer()
    job.heartbeat.beat("compile", job.state.step)
    loop.train(job.state, run_steps, acting, calls=job.calls(pace))
    if validate is None:
        return None
    return validate.scores or validate.measure(job.state)


def _evaluate_and_finish(job: TrainingSession, validation: EvalMetrics | None) -> None:
    """Scores the test split, once, and writes result.json."""

    def beat(_: int = 0) -> None:
        job.heartbeat.beat("evaluate", job.state.step)

    beat()
    if not job.cluster.chief:
        return
    job.request.allow(f"after step {job.state.step}, saved, before the test")
    with job.clock.phase("test"):
        job.evaluator.load(eval_weights(job.state.arrays()))
        test = job.data.test
        answers = len(test.images) * models_evaluator.count_views(job.evaluator.tta)
        with job.progress.count(answers, "test") as tick:
            logits = job.evaluator.logits(test.images, lambda n: (beat(), tick(n)))
        scores = compute_metrics(logits, test.labels)
    job.request.defer()
    described = result.write_result(job, validation, scores)
    job.heartbeat.beat("done", job.state.step)
    print(layout.format_summary(job.run, described))


ADAPT_IMAGES = 5000  # of the learnt ones: 4.8 million patches of 2x2 pixels


def build_network(
    config: Config,
    connected: strategy.Cluster,
    held: dataset.Dataset,
    planned: timetable.Timetable,
) -> tuple[TrainState, DeviceDataset, step.TrainStep]:
    """Network, optimizer and compiled step, in the strategy's scope.

    Raises:
        UsageError: the network does not take these images.
    """
    _check_small(config, held)
    keras.utils.set_random_seed(config.seed)
    with connected.strategy.scope():
        try:
            model = builder.build_model(
                config.model,
                image_shape=held.image_shape,
                num_classes=len(held.train.names),
                precision=config.precision.value,
            )
        except ValueError as error:
            raise UsageError(
                f"--model={config.model.name} does not take images of "
                f"{held.image_shape}; they may be too small for it"
            ) from error
        optimizer = optimizers.build_optimizer(config, model.trainable_variables)
        builder.adapt(model, held.train.images[held.learnt[:ADAPT_IMAGES]])
    images = targets.build_device_dataset(config, held, connected)
    trainer = step.TrainStep(
        config,
        connected,
        model,
        optimizer,
        images,
        small_steps=planned.small_steps,
        flips=_flips(config, held),
    )
    return TrainState(model, optimizer, trainer.averages), images, trainer


def _flips(config: Config, held: dataset.Dataset) -> AlternatingFlip | None:
    if config.data.flip is not Flip.ALTERNATING:
        return None
    return AlternatingFlip(
        examples=len(held.train.labels),
        epoch_images=len(held.learnt),
        seed=config.seed,
    )


def _check_small(config: Config, held: dataset.Dataset) -> None:
    small, side = config.data.small_pixels, min(held.image_shape[:2])
    if small is None:
        return
    if config.model.name not in registry.ANY_SIZE:
        raise UsageError(
            f"--small_pixels={small} needs a network for images of any size "
            f"({', '.join(registry.ANY_SIZE)}), got --model={config.model.name}"
        )
    if small >= side:
        raise UsageError(
            f"--small_pixels={small} must be below the images' {side}; leave it out"
        )


def build_evaluator(
    config: Config,
    run_config: RunConfig,
    connected: strategy.Cluster,
    held: dataset.Dataset,
) -> Evaluator:
    """The same network in float32 on one device."""
    return Evaluator(
        config.model,
        image_shape=held.image_shape,
        num_classes=len(held.train.names),
        device=connected.local_devices[0],
        tta=run_config.eval_tta,
    )
