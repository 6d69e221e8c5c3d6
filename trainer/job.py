"""One training from data to result.json: what trainer.main does once flags are good."""

import dataclasses
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer import (
    actions,
    checkpoints,
    cluster,
    datasets,
    environment,
    flags,
    loop,
    metrics,
    models,
    optim,
    plan,
    prepare,
    quiet,
    runs,
    sampler,
    steps,
    summaries,
)
from trainer.clock import Clock, Pace
from trainer.commandline import Failure, UsageError
from trainer.config import Config, Resume, RunConfig, differences, plain
from trainer.evaluation import Evaluator, Scores, parameters, score
from trainer.forecast import Forecast
from trainer.progress import Progress, duration
from trainer.runs import Run
from trainer.signals import StopRequest
from trainer.state import TrainState, shipped


@dataclasses.dataclass(frozen=True)
class Data:
    """The data set, and which of its training rows are learnt from."""

    name: str
    train: datasets.Split
    test: datasets.Split
    learnt: np.ndarray
    held_out: np.ndarray

    def recorded(self) -> dict[str, Any]:
        """What config.json keeps of it and a resume compares."""
        return {
            "name": self.name,
            "image_shape": list(self.train.images.shape[1:]),
            "labels": list(self.train.names),
            "sha256": {"train": self.train.sha256, "test": self.test.sha256},
        }


@dataclasses.dataclass
class Job:
    """Everything that one training needs, made in the order of its fields."""

    run: Run
    config: Config
    run_config: RunConfig
    clock: Clock
    progress: Progress
    request: StopRequest
    cluster: cluster.Cluster
    environment: dict[str, Any]
    data: Data
    plan: plan.Plan
    state: TrainState
    trainer: steps.Trainer
    evaluator: Evaluator


def train(run: Run, config: Config, run_config: RunConfig) -> None:
    """Starts, resumes or just reports the training in `run`."""
    if (result := run.result()) is not None:
        print(_closing(run, result))
        return
    job = _assemble(run, config, run_config)
    if run_config.dry_run:
        _rehearse(job)
        return
    resumed = _restore(job)
    _record(job, resumed=resumed)
    scores = _run(job)
    _finish(job, scores)


def _assemble(run: Run, config: Config, run_config: RunConfig) -> Job:
    """Devices, data, plan, state and the compiled step; writes nothing."""
    clock = Clock()
    progress = Progress(clock.now)
    request = StopRequest()
    request.install()
    with quiet.start_up(), clock.phase("devices"):
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        threads = cluster.set_threads(run_config.threads)
        connected = cluster.connect(run_config)
    request.install()
    cluster.check_batch(config.global_batch, connected.replicas)
    with clock.phase("data"):
        data = _data(config, run_config, progress)
    planned = plan.make(config, run_config, len(data.learnt))
    with quiet.start_up(), clock.phase("build"):
        state, trainer = _build(config, connected, data)
        evaluator = Evaluator(
            config.model,
            image_shape=data.train.images.shape[1:],
            num_classes=len(data.train.names),
            device=connected.local_devices[0],
        )
    described = environment.describe(threads)
    return Job(
        run, config, run_config, clock, progress, request, connected, described, data,
        planned, state, trainer, evaluator,
    )  # fmt: skip


def _data(config: Config, run_config: RunConfig, progress: Progress) -> Data:
    builder = prepare.ensure(
        config.data.dataset,
        run_config.data_dir,
        say=progress.say,
        write=not run_config.dry_run,
    )
    with quiet.start_up():
        train, test = datasets.load(builder, "train"), datasets.load(builder, "test")
    learnt, held = sampler.validation_split(
        train.labels, config.data.validation_fraction
    )
    if len(train.names) < 2 or len(learnt) == 0:
        raise UsageError(
            f"--dataset={config.data.dataset} has {len(train.names)} classes and "
            f"{len(learnt)} rows to train on; 2 and 1 are needed"
        )
    return Data(builder.info.full_name, train, test, learnt, held)


def _build(
    config: Config, connected: cluster.Cluster, data: Data
) -> tuple[TrainState, steps.Trainer]:
    keras.utils.set_random_seed(config.seed)
    with connected.strategy.scope():
        model = models.build(
            config.model,
            image_shape=data.train.images.shape[1:],
            num_classes=len(data.train.names),
            precision=config.precision.value,
        )
        optimizer = optim.build(config, model.trainable_variables)
    images = steps.Images(data.train.images, data.train.labels, connected)
    trainer = steps.Trainer(config, connected, model, optimizer, images)
    return TrainState(model, optimizer), trainer


def _rehearse(job: Job) -> None:
    """--dry_run: one step, its time, the plan."""
    call = next(_calls(job, Pace(1)))
    job.trainer(call.step, call.rows, call.rates)
    start = time.monotonic()
    outcome = job.trainer(call.step, call.rows, call.rates)
    step_secs = time.monotonic() - start
    _print_plan(job)
    print(
        f"one step took {step_secs:.3f} s, its loss is {outcome.metrics[0, 0]:.4f}; "
        f"about {duration(step_secs * job.plan.total_steps)} for all; nothing was written"
    )


def _restore(job: Job) -> bool:
    """Takes over the newest good checkpoint, if there is one."""
    if not job.run.exists:
        return False
    recorded = job.run.recorded()
    found = differences(recorded.get("data", {}), job.data.recorded())
    if found:
        raise UsageError(
            f"{job.run.path} was trained on other data ({'; '.join(found)});\n"
            "give its own --data_dir, or another --run_dir"
        )
    before = job.run.environment()
    if note := environment.changed(before, job.environment):
        job.progress.say(note)
    checkpoint = checkpoints.newest(job.run.checkpoints, skipped=job.progress.say)
    if checkpoint is None:
        if job.run_config.resume is Resume.MUST:
            raise UsageError(
                f"--resume=must, but {job.run.path} has no good checkpoint"
            )
        return False
    job.state.load(checkpoint.arrays, checkpoint.facts)
    job.progress.say(f"resumed {job.run.path} after step {checkpoint.step}")
    return True


def _record(job: Job, *, resumed: bool) -> None:
    """Writes what a run directory has from the start; drops what a kill left behind."""
    if not job.cluster.chief:
        return
    run, step = job.run, job.state.step
    try:
        run.tensorboard.mkdir(parents=True, exist_ok=True)
        run.checkpoints.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the run cannot go to {run.path}: {error.strerror}"
        ) from error
    summaries.keep_until(run.tensorboard, step)
    metrics.keep_until(run.metrics, step)
    run.write("environment.json", job.environment)
    if not resumed:
        (run.path / "flags.txt").write_text(flags.flag_file())
        run.write(
            "config.json",
            {
                "version": 1,
                "config": job.config.to_json(),
                "run": plain(dataclasses.asdict(job.run_config)),
                "data": job.data.recorded(),
            },
        )
    runs.make_latest(run)
    _print_plan(job)


def _print_plan(job: Job) -> None:
    forecast = Forecast.of(job.trainer.body, job.config, job.cluster, job.data.train)
    for line in forecast.lines(job):
        job.progress.say(line)


def _calls(job: Job, pace: Pace):
    rows = sampler.Sampler(
        job.data.learnt, global_batch=job.config.global_batch, seed=job.config.seed
    )
    return loop.calls(job.state, job.plan, rows, job.config.optim, pace)


def _run(job: Job) -> Scores | None:
    """Trains to the last step; returns the last scores on the validation rows."""
    pace = Pace(job.run_config.steps_per_call)
    run_steps = loop.timed(job.trainer, job.state, job.clock, pace)
    acting, validate = _actions(job)
    job.request.at_once = False
    try:
        loop.train(job.state, run_steps, acting, calls=_calls(job, pace))
    except tf.errors.ResourceExhaustedError as error:
        raise Failure(
            f"out of memory with --global_batch={job.config.global_batch} on "
            f"{job.cluster.replicas} replicas; lower --global_batch or --model_width, or "
            "use --precision=mixed_bfloat16"
        ) from error
    if validate is None:
        return None
    return validate.scores or validate.measure(job.state)


def _actions(job: Job) -> tuple[list[loop.Action], actions.Validate | None]:
    """The actions in the order that a resume relies on: log, validate, then save."""
    finite = actions.RefuseNonFinite(job.config, job.plan, job.run)
    if not job.cluster.chief:
        return [finite], None
    events = summaries.Summaries(job.run.tensorboard)
    lines = metrics.Metrics(job.run.metrics)
    if job.state.step == 0:
        _introduce(job, events)
    acting: list[loop.Action] = [
        finite,
        actions.Report(
            job.plan, job.progress, job.clock, job.state.step, job.clock.now()
        ),
        actions.Log(job.plan, job.config, job.clock, lines, events),
    ]
    validate = None
    if len(job.data.held_out):
        split, rows = job.data.train, job.data.held_out
        validate = actions.Validate(
            job.plan, job.clock, job.evaluator, split.images[rows], split.labels[rows],
            split.names, lines, events, job.progress,
        )  # fmt: skip
        acting.append(validate)
    save = actions.Save(
        job.plan, job.clock, job.run, job.run_config.keep_checkpoints,
        {"config": job.config.to_json(), "data": job.data.recorded(),
         "packages": job.environment["packages"]},
        events.flush, job.clock.now(),
    )  # fmt: skip
    acting += [save, actions.StopWhenAsked(job.request, save)]
    if job.run_config.profile_steps:
        first, last = job.run_config.profile_steps
        acting.append(actions.Profile(first, last, str(job.run.tensorboard)))
    return acting, validate


def _introduce(job: Job, events: summaries.Summaries) -> None:
    """The summaries of step 0: graph, hparams, a grid of augmented images."""
    settings = {}
    for name, value in job.config.to_json().items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, leaf in parts:
            key = f"{name}.{part}".rstrip(".")
            settings[key] = leaf if isinstance(leaf, int | float | str) else str(leaf)
    events.start(job.trainer.graph, settings)
    rows = next(_calls(job, Pace(1))).rows[0][:32]
    varied = job.trainer.augmented(rows)
    drawn = actions.augmented_picture(job.data.train, rows, varied)
    events.picture(0, "train/augmented", drawn)


def _finish(job: Job, validation: Scores | None) -> None:
    """Scores the test split, once, and writes result.json."""
    if not job.cluster.chief:
        return
    state, clock = job.state, job.clock
    arrays = state.arrays()
    with clock.phase("test"):
        job.evaluator.load(shipped(arrays))
        scores = score(job.evaluator.logits(job.data.test.images), job.data.test.labels)
    facts = state.facts()
    result = {
        "finished": True,
        "steps": state.step,
        "epochs": round(job.plan.epoch(state.step), 6),
        "train_seconds": round(state.seconds, 3),
        "images_per_second": round(actions.images_per_second(state), 1),
        "seconds": {k: round(v, 3) for k, v in clock.seconds.items()},
        "parameters": parameters(job.state.model),
        "validation_accuracy": validation.accuracy if validation else None,
        "test_accuracy": scores.accuracy,
        "test_accuracy_interval": list(scores.interval),
        "test_loss": scores.loss,
        "test_images": scores.total,
        **{
            k: facts[k] for k in ("weights_sha256", "raw_weights_sha256", "rows_sha256")
        },
        "data": job.data.name,
        "data_sha256": job.data.recorded()["sha256"],
        "replicas": job.cluster.replicas,
        "commit": job.environment["commit"],
    }
    events = summaries.Summaries(job.run.tensorboard)
    events.scalars(
        state.step, {"test/accuracy": scores.accuracy, "test/loss": scores.loss}
    )
    events.flush()
    job.run.write("result.json", result)
    print(_closing(job.run, result))


def _closing(run: Run, result: dict[str, Any]) -> str:
    low, high = result["test_accuracy_interval"]
    return (
        f"test accuracy {result['test_accuracy']:.2%} (95 % interval {low:.2%} to "
        f"{high:.2%}) on all {result['test_images']:,} images of {result['data']}\n"
        f"{result['steps']} steps, {result['images_per_second']:,.0f} images/s, weights "
        f"{result['weights_sha256'][:12]}, run {run.path}\n"
        f"next: tensorboard --logdir {run.path.parent}"
    )
