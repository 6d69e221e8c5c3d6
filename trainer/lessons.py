"""Lessons: a teacher's answers for every view of every row, computed once.

A teacher may be several times as costly as its student, and the views that
augmentation can give are few enough to be counted. So it answers before the first step,
and a resumed run reads what is kept.
"""

import pathlib
import time
import typing

import numpy as np

from trainer import checkpoints, resumption, teacher
from trainer.answers import Answers
from trainer.choices import Precision
from trainer.commandline import Stopped, UsageError, lost
from trainer.config import Config
from trainer.data import Data
from trainer.evaluation import Evaluator
from trainer.heartbeat import LOST
from trainer.progress import duration
from trainer.run_config import RunConfig
from trainer.runs import Run, resolved
from trainer.state import shipped
from trainer.taught import TaughtImages

if typing.TYPE_CHECKING:
    from trainer.job import Job

FOLDER = "teacher"  # in the student's run directory
POLL_SECS = 0.2


def check(run: Run, config: Config, run_config: RunConfig, data: Data) -> None:
    """Raises UsageError unless the teacher can teach `run`, if that is yet to start."""
    if config.teacher is not None and not run.exists:
        found = _teacher(config, run_config)
        teacher.check_data(found, data.recorded())
        _weights(found, config.teacher.weights_sha256)
        try:
            found.config()
        except UsageError as error:
            raise UsageError(f"--teacher={found.path}: {error}") from error


def _teacher(config: Config, run_config: RunConfig) -> Run:
    if run_config.teacher is None:
        raise UsageError("where the teacher of this run lies is not recorded")
    path = resolved(pathlib.Path(run_config.teacher))
    if teacher.weights_sha256(str(path)) != config.teacher.weights_sha256:
        raise UsageError(f"--teacher={path} is not the teacher of this run")
    return Run(path)


def _weights(run: Run, sha256: str) -> dict[str, np.ndarray]:
    expected = {"weights_sha256": sha256}
    kept = checkpoints.newest(
        run.checkpoints, skipped=lambda _: None, expected=expected
    )
    if kept is None:
        raise UsageError(
            f"--teacher={run.path} has no good checkpoint with the weights "
            f"{sha256[:12]} of its result.json; train it again"
        )
    return shipped(kept.arrays)


def learn(job: "Job", *, write: bool = True) -> None:
    """Gives the steps of `job` the teacher's answers; computes those not yet kept.

    The chief computes, the other workers wait for its files.

    Raises:
        Stopped: with 175, the disk is full, or not all workers read the same.
    """
    taught = job.images
    if not isinstance(taught, TaughtImages):
        return
    answers = Answers(job.run.path / FOLDER, _key(job), taught.shape_of_answers)
    with job.clock.phase("teach"):
        if job.cluster.chief:
            answers.load(damaged=job.progress.say)
            if answers.missing:
                _compute(job, answers, write=write)
        else:
            _wait(job, answers)
        if job.cluster.workers > 1:
            _agree(job, answers.sha256)
        taught.teach(answers.array())


def _key(job: "Job") -> dict[str, typing.Any]:
    data = job.config.data
    return {
        "weights_sha256": job.config.teacher.weights_sha256,
        "data_sha256": job.data.train.sha256,
        "validation_fraction": data.validation_fraction,
        "augment": data.augment.value,
        "crop_pixels": data.crop_pixels,
    }


def _compute(job: "Job", answers: Answers, *, write: bool) -> None:
    """Lets the teacher answer the views that are missing, and keeps each at once."""
    found, config = _teacher(job.config, job.run_config), job.config
    say, (views, rows, _) = job.progress.say, answers.shape
    say(
        f"teacher {found.path} answers {len(answers.missing)} of {views} views of "
        f"{rows:,} images, once"
    )
    if remark := teacher.note(found.config(), config):
        say(f"warning: {remark}")
    asked = _Questions(job, found, answers)
    for view in answers.missing:
        try:
            if answers.add(view, asked.logits(view), write=write):
                say(f"view {view} was computed anew and differs: bits may, too")
        except ValueError as error:
            raise UsageError(f"--teacher={found.path}: {error}") from error
        except OSError as error:
            raise lost("the teacher's answers could not be written", error) from error


class _Questions:
    """Asks a teacher, telling how far it is."""

    def __init__(self, job: "Job", run: Run, answers: Answers) -> None:
        self._job, self._views = job, job.images.views
        config = run.config()
        job.heartbeat.beat("compile", job.state.step)
        self._evaluator = Evaluator(
            config.model,
            image_shape=job.data.image_shape,
            num_classes=answers.shape[2],
            device=job.cluster.local_devices[0],
            precision=_precision(config),
        )
        self._evaluator.load(_weights(run, job.config.teacher.weights_sha256))
        self._total = len(answers.missing) * answers.shape[1]
        self._done, self._start = 0, job.clock.now()

    def logits(self, view: int) -> np.ndarray:
        """Float [rows, classes] of all rows learnt from, seen in that view."""
        data, parts, size = self._job.data, [], self._evaluator.batch
        for first in range(0, len(data.learnt), size):
            rows = data.learnt[first : first + size]
            shown = self._views.show(data.train.images[rows], view)
            parts.append(self._evaluator.logits(shown))
            self._tell(view, len(rows))
        return np.concatenate(parts)

    def _tell(self, view: int, count: int) -> None:
        self._done += count
        secs = self._job.clock.now() - self._start
        left = secs / self._done * (self._total - self._done)
        self._job.heartbeat.beat("teach", self._job.state.step)
        self._job.progress.update(
            f"teacher: view {view + 1}/{self._views.count}  ETA {duration(left)}  "
            f"{self._done / max(secs, 1e-9):,.0f} images/s",
            last=self._done == self._total,
        )


def _precision(config: Config) -> str:
    """In which a teacher answers: bfloat16 if it was trained so, or else float32.

    Of the cnn trained in bfloat16, on 2,000 CIFAR-10 images, bfloat16 was 2 to 2.7
    times as fast on two cores with AVX512-BF16 (1,750 to 2,300 images/s) and 1.1e-5
    nats (KL at temperature 2, mean) away from float32.
    """
    half = config.precision is Precision.MIXED_BFLOAT16
    return (Precision.MIXED_BFLOAT16 if half else Precision.FLOAT32).value


def _wait(job: "Job", answers: Answers) -> None:
    """Reads what the chief writes; the heartbeat waits as long as the chief does."""
    job.heartbeat.beat("teach", job.state.step)
    answers.load(damaged=lambda _: None)
    while answers.missing:
        time.sleep(POLL_SECS)
        answers.load(damaged=lambda _: None)


def _agree(job: "Job", sha256: str) -> None:
    job.heartbeat.beat("restore", job.state.step)
    held = resumption.gather(job.cluster, [resumption.digest(sha256)])
    if (held != held[0]).any():
        raise Stopped(
            f"the workers read different answers of the teacher from {job.run.path};\n"
            "let all see the same files and restart the whole group",
            LOST,
        )
