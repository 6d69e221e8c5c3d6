"""Training session: the parts of one training and its course from start to end."""

import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from trainer import errors, files
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.data.dataset import Dataset
from trainer.data.device_dataset import DeviceDataset
from trainer.data.sampler import Sampler
from trainer.data.split import ImageRows, Split
from trainer.distillation import soft_labels, teacher
from trainer.distillation.targets import DistillationTargets
from trainer.distributed import devices
from trainer.distributed.collectives import WorkerExchange
from trainer.distributed.error_translation import translate_errors
from trainer.distributed.shutdown import StopRequest
from trainer.distributed.strategy import Cluster
from trainer.models.analysis import layer_table
from trainer.models.evaluator import EvalMetrics, Evaluator
from trainer.monitoring import kubeflow, metrics_log, pictures, tensorboard
from trainer.monitoring.monitor import Monitor
from trainer.monitoring.multi_writer import MultiWriter
from trainer.monitoring.progress import duration
from trainer.pretrained import matching
from trainer.rundir import (
    checkpoints,
    checks,
    finished,
    layout,
    resume,
    test_openings,
)
from trainer.rundir import lease as leases
from trainer.rundir.layout import Run
from trainer.rundir.lease import Lease
from trainer.rundir.metadata import RunMetadata
from trainer.storage import as_refusal
from trainer.training import callbacks, estimate, loop, result
from trainer.training.estimate import InputChoice
from trainer.training.loop import BlockSizer, Callback, StepBlock
from trainer.training.state import TrainState
from trainer.training.step import TrainStep
from trainer.training.timetable import Timetable


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChiefCallbacks:
    """The callbacks that only the chief runs.

    Attributes:
        validation: None without validation rows.
        optional: those that an option or the environment asks for.
    """

    metrics: callbacks.MetricsCallback
    validation: callbacks.ValidationCallback | None
    checkpoint: callbacks.CheckpointCallback
    optional: list[Callback]

    def in_order(self) -> list[Callback]:
        """Lists them in the order in which they are called.

        Metrics and validation come before the checkpoint, so that everything up to step
        s is written when the checkpoint of s is saved.
        """
        listed: list[Callback] = [self.metrics]
        if self.validation is not None:
            listed.append(self.validation)
        return [*listed, self.checkpoint, *self.optional]


@dataclasses.dataclass(kw_only=True)
class TrainingSession:
    """The parts of one training, built by `start.build_session`.

    `train` restores the last checkpoint, runs the loop with its callbacks, tests once
    (unless test=False) and writes result.json.
    """

    run: Run
    metadata: RunMetadata
    request: StopRequest
    monitor: Monitor
    cluster: Cluster
    dataset: Dataset
    timetable: Timetable
    state: TrainState
    images: DeviceDataset
    input_choice: InputChoice
    train_step: TrainStep
    evaluator: Evaluator

    @property
    def config(self) -> Config:
        """The options that decide the numbers."""
        return self.metadata.config

    @property
    def run_config(self) -> RunConfig:
        """The options that say where and how the training runs."""
        return self.metadata.run_config

    def train(
        self, flags_text: str, more_callbacks: Sequence[Callback] = ()
    ) -> dict[str, Any] | None:
        """Restores, trains and tests once; returns the content of result.json."""
        with self._holding_lease() as lease:
            with self.monitor.progress.phase("restoring the last checkpoint"):
                self._restore(flags_text)
            self.prepare_soft_labels()
            validation = self._run_loop(lease, more_callbacks)
            return self._finish(validation, lease)

    def translated_errors(self) -> contextlib.AbstractContextManager[None]:
        """Context that translates errors of TensorFlow and the operating system."""
        return translate_errors(
            self.run.path,
            self.cluster,
            self.monitor.heartbeat,
            step=lambda: self.state.step,
            memory_remedy=lambda: self._estimate().remedy(self.config, self.cluster),
        )

    def blocks(self, sizer: BlockSizer) -> Iterator[StepBlock]:
        """Yields the blocks of the remaining steps."""
        optim = self.config.optim
        return loop.step_blocks(self.state, self.timetable, self.sampler, optim, sizer)

    def reading_ahead(self) -> contextlib.AbstractContextManager[None]:
        """Context in which the images of the remaining steps may be read ahead."""
        total = self.timetable.total_steps
        return self.images.pixels.reading(self.sampler.block, self.state.step, total)

    @functools.cached_property
    def sampler(self) -> Sampler:
        """The rows of every step."""
        return Sampler(
            self.dataset.learnt,
            global_batch=self.config.global_batch,
            seed=self.config.seed,
        )

    def prepare_soft_labels(self, *, write: bool = True) -> None:
        """Loads or computes the soft labels if there is a teacher."""
        targets = self.images
        if not isinstance(targets, DistillationTargets):
            return
        found = teacher.find_teacher(self.config, self.run_config)
        key = soft_labels.cache_key(self.config, self.dataset.train.sha256)
        folder = self.run.path / soft_labels.FOLDER
        cache = soft_labels.SoftLabelCache(folder, key, targets.shape_of_answers)
        device = self.cluster.local_devices[0]

        def open_labeler() -> soft_labels.TeacherLabeler:
            return soft_labels.TeacherLabeler(found, self.config, self.dataset, device)

        if write:
            self.request.allow("before the first step; soft labels so far are kept")
        with self.monitor.timer.phase("teach"):
            labels = soft_labels.prepare_soft_labels(
                cache, open_labeler, self.cluster, self.monitor, write=write
            )
            targets.teach(labels)

    def dry_run(self) -> None:
        """Runs a step of each kind, shows time and plan; writes nothing.

        Steps differ in the size of images and in the layers that are frozen.
        """
        self._check_space()
        block, plan = next(self.blocks(BlockSizer(1))), self.timetable
        ends = sorted({0, plan.small_steps, plan.frozen_steps, plan.total_steps})
        counts = {first: end - first for first, end in itertools.pairwise(ends)}
        secs = {}
        for first in counts:
            with self.monitor.timer.phase("compile"):
                self.train_step(first, block.rows, block.rates)
            start = time.monotonic()
            output = self.train_step(first, block.rows, block.rates)
            secs[first] = time.monotonic() - start
        self._tell_plan()
        self._tell_resume()
        classes, shape = len(self.dataset.train.names), self.dataset.image_shape
        flops = estimate.training_flops(self.config, self.timetable, shape, classes)
        self.monitor.say(
            f"{flops / 1e15:.3g} petaFLOP in convolutions and dense layers (a "
            "multiply-add is two, backward is two forwards)"
        )
        if self.config.distillation.enabled:
            self.monitor.say("this step uses zeros for the soft labels of the teacher")
        print(
            f"a step takes {' s, later '.join(f'{s:.3f}' for s in secs.values())} s "
            f"(loss {output.metrics[0, 0]:.4f}), all about "
            f"{duration(sum(counts[first] * s for first, s in secs.items()))}; "
            "nothing was written"
        )

    def _estimate(self) -> estimate.ResourceEstimate:
        body = self.train_step.body
        return estimate.ResourceEstimate.from_shapes(
            body, self.config, self.cluster, self.dataset, self.input_choice.source
        )

    def _tell_plan(self) -> None:
        lines = self._estimate().describe(
            self.config,
            self.timetable,
            self.dataset,
            self.cluster,
            self.monitor.timer.seconds["data"],
            self.input_choice,
        )
        threads = self.metadata.environment["threads"]
        lines[1:1] = devices.describe_devices(self.cluster, threads)
        if self.metadata.pretrained is not None and self.state.step == 0:
            lines = [*matching.describe(self.metadata.pretrained), *lines]
        if self.run_config.model_summary:
            body, precision = self.train_step.body, self.config.precision.value
            lines += layer_table.describe(body, precision)
        for line in [*lines, f"run directory: {self.run.path}"]:
            self.monitor.say(line)

    def _tell_resume(self) -> None:
        """Tells where the training in an existing directory would go on."""
        if not self.run.exists:
            return
        steps = finished.list_steps(self.run)
        last, total = max(steps, default=0), self.timetable.total_steps
        where = f"after step {last:,} of {total:,}" if steps else "at step 0"
        self.monitor.say(f"the run is there already and would be resumed {where}")

    def _check_space(self) -> None:
        size = sum(v.numpy().nbytes for v in self.state.variables().values())
        checks.check_space(self.run, self.run_config, size)

    @contextlib.contextmanager
    def _holding_lease(self) -> Iterator[Lease | None]:
        """Holds the lease of the run directory within the context, on the chief."""
        if not self.cluster.chief:
            yield None
            return
        self._check_space()
        path, restart = self.run.path, self.run.exists
        there = path.exists()
        try:
            lease = leases.acquire(path, say=self.monitor.say)
        except OSError as error:
            if not there:
                with contextlib.suppress(OSError):
                    path.rmdir()
            what = f"the run cannot be written to {path}"
            raise as_refusal(what, error, restart=restart) from error
        try:
            # The last owner may have changed the run after the first check.
            checks.check_can_start(self.run, self.config, self.run_config)
            yield lease
        finally:
            lease.release()

    def _restore(self, flags_text: str) -> None:
        """Restores the last checkpoint, and writes the first files of a new run."""
        self.monitor.heartbeat.write("restore", self.state.step)
        say = self.monitor.say
        resumed = resume.restore_latest(
            self.run, self.state, self.cluster, self.metadata, say
        )
        if not self.cluster.chief:
            return
        run, step = self.run, self.state.step
        run.tensorboard.mkdir(exist_ok=True)
        run.checkpoints.mkdir(exist_ok=True)
        checkpoints.remove_partial(run.checkpoints)
        run.sweep()
        tensorboard.truncate_after(run.tensorboard, step, say)
        metrics_log.truncate_after(run.metrics, step, say)
        if not resumed:
            if flags_text:
                files.write_bytes(run.path / "flags.txt", flags_text.encode())
            self.metadata.write(run)
        layout.update_latest(run, say)
        self._tell_plan()

    def _run_loop(
        self, lease: Lease | None, more_callbacks: Sequence[Callback]
    ) -> EvalMetrics | None:
        """Trains to the last step; returns the validation metrics."""
        pause = self.timetable.pause
        if pause is not None and self.state.step >= pause:
            raise callbacks.paused(self.state, self.run)
        sizer = BlockSizer(self.run_config.steps_per_call)
        votes = callbacks.WorkerVotes(WorkerExchange(self.cluster), self.request, sizer)
        chief = None if lease is None else self._chief_callbacks(lease)
        checkpoint = chief.checkpoint if chief else None
        alone = self.cluster.workers == 1
        listed = [
            callbacks.NanGuard(self.config.optim, self.timetable, self.run),
            votes,
            callbacks.HeartbeatCallback(self.monitor),
            callbacks.ProgressCallback(
                self.timetable, self.monitor, means=chief is not None
            ),
            *(chief.in_order() if chief else []),
            *more_callbacks,
            callbacks.StopOnSignal(
                votes, self.request, self.run, alone, checkpoint, pause
            ),
        ]
        timer = self.monitor.timer
        run_block = loop.timed_step(self.train_step, self.state, timer, sizer)
        self.request.defer()
        self.monitor.heartbeat.write("compile", self.state.step)
        with self.reading_ahead():
            loop.train(self.state, run_block, listed, blocks=self.blocks(sizer))
        if chief is None or chief.validation is None:
            return None
        return chief.validation.scores or chief.validation.measure(self.state)

    def _chief_callbacks(self, lease: Lease) -> ChiefCallbacks:
        """Creates the callbacks that only the chief runs: those that write."""
        run, state, monitor = self.run, self.state, self.monitor
        writer = MultiWriter.open(
            run.metrics, run.tensorboard, lease.attempt, monitor.say
        )
        if state.step == 0:
            with monitor.progress.phase("writing the first summaries"):
                self._write_first_summaries(writer)
        since = (state.seconds, state.images)
        return ChiefCallbacks(
            metrics=callbacks.MetricsCallback(
                self.timetable, self.config.optim, monitor, writer, since
            ),
            validation=self._validation(writer),
            checkpoint=self._checkpoint(writer, lease),
            optional=list(self._optional_callbacks()),
        )

    def _checkpoint(
        self, writer: MultiWriter, lease: Lease
    ) -> callbacks.CheckpointCallback:
        return callbacks.CheckpointCallback(
            self.timetable,
            self.run,
            self.run_config.keep_checkpoints,
            self.metadata.checkpoint_fields(),
            writer.sync,
            lease,
            self.monitor,
            saved_at=self.monitor.timer.now(),
        )

    def _validation(self, writer: MultiWriter) -> callbacks.ValidationCallback | None:
        split, rows = self.dataset.train, self.dataset.held_out
        if not len(rows):
            return None
        return callbacks.ValidationCallback(
            self.timetable,
            self.evaluator,
            ImageRows(split.images, rows),
            split.labels[rows],
            split.names,
            writer,
            self.monitor,
        )

    def _optional_callbacks(self) -> Iterator[Callback]:
        """Creates the callbacks that an option or the environment asks for."""
        if kubeflow.in_trainjob():
            total, now = self.timetable.total_steps, self.monitor.timer.now
            sender = kubeflow.StatusSender(total, self.state.step, now)
            yield callbacks.KubeflowCallback(sender)
        if self.run_config.profile_steps:
            first, last = self.run_config.profile_steps
            folder, say = str(self.run.tensorboard), self.monitor.say
            yield callbacks.ProfileCallback(first, last, folder, say)

    def _write_first_summaries(self, writer: MultiWriter) -> None:
        """Writes the summaries of step 0: graph, hyperparameters, augmented images."""
        settings = tensorboard.flatten_settings(self.config.to_json())
        writer.write_start(self.run.path.name, self.evaluator.graph, settings)
        batch = next(self.blocks(BlockSizer(1))).rows[0]
        rows = batch[: pictures.GRID_IMAGES]
        images = self.train_step.augmented(batch, len(rows)).astype(np.uint8)
        split = self.dataset.train

        def grid() -> np.ndarray:
            return pictures.grid(images, split.labels[rows], split.names)

        what = "the picture train/augmented"
        if (drawn := errors.attempt_drawing(grid, what, self.monitor.say)) is not None:
            writer.write_picture(0, "train/augmented", drawn)

    def _finish(
        self, validation: EvalMetrics | None, lease: Lease | None
    ) -> dict[str, Any] | None:
        """Tests once and writes result.json; returns its content, on the chief."""
        heartbeat, step = self.monitor.heartbeat, self.state.step
        heartbeat.write("evaluate", step)
        if lease is None:
            return None
        test = None if self.dataset.test is None else self._test(self.dataset.test)
        described = {
            **result.describe_training(
                self.state, self.timetable, self.monitor.timer.seconds
            ),
            **result.describe_scores(validation, test, self.dataset),
            "eval_tta": self.evaluator.tta.value,
            "replicas": self.cluster.replicas,
            "commit": self.metadata.environment["commit"],
        }
        result.write_result(self.run, described, lease, self.monitor)
        heartbeat.write("done", step)
        return described

    def _test(self, split: Split) -> EvalMetrics:
        """Evaluates the weights that are shipped on the test split."""
        weights = self.state.facts()["weights_sha256"]
        if line := test_openings.record(self.run.path, weights, once=True):
            self.monitor.say(line)
        self.request.allow(f"after step {self.state.step}, saved, before the test")
        with self.monitor.timer.phase("test"):
            found = callbacks.measure_split(
                self.evaluator,
                self.state,
                split.images,
                split.labels,
                self.monitor,
                "testing",
            )
        self.request.defer()
        return found
