"""Answers: a teacher's logits for every view, kept in the run directory of a student.

Layout: ``teacher/view-000.npy`` (float16 [rows, classes], the rows learnt from in
ascending order) and ``teacher/manifest.json`` with what decides them and size and
SHA-256 of each file. A view is on disk as soon as it is computed, so a kill loses one.
"""

import hashlib
import io
import pathlib
import time
import typing
from collections.abc import Callable
from typing import Any

import numpy as np

from trainer import files
from trainer.config.enums import Precision
from trainer.config.schema import Config
from trainer.contract import EXIT_PEER_LOST
from trainer.distillation import teacher
from trainer.distillation.targets import DistillationTargets
from trainer.distributed import collectives
from trainer.errors import Interrupted, UsageError
from trainer.models.evaluator import Evaluator
from trainer.monitoring.progress import duration
from trainer.rundir import arrays
from trainer.rundir.layout import Run
from trainer.storage import as_failure

VERSION = 1
MANIFEST = "manifest.json"
_HEADER_BYTES = 4096  # NumPy's own has 128


class SoftLabelCache:
    """Float16 logits [views, rows, classes], those that are there.

    Args:
        folder: where the files are.
        key: what decides the numbers; files of another key are not used.
        shape: views, rows, classes.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        key: dict[str, Any],
        shape: tuple[int, int, int],
    ) -> None:
        self._folder, self.shape = folder, shape
        self._key = {"version": VERSION, **key, "shape": list(shape)}
        self._files: dict[str, dict[str, Any]] = {}
        self._views: dict[int, np.ndarray] = {}

    @property
    def missing(self) -> list[int]:
        """The views that are not there yet."""
        return [view for view in range(self.shape[0]) if view not in self._views]

    def load(self, *, damaged: Callable[[str], None]) -> None:
        """Takes over the whole files of the folder; `damaged` is told of the others."""
        self._files = self._listed(damaged)
        for view in self.missing:
            if (name := _name(view)) in self._files:
                try:
                    self._views[view] = self._read(name)
                except (OSError, ValueError, KeyError, TypeError) as error:
                    damaged(f"{self._folder / name} is not used: {error}")

    def _listed(self, damaged: Callable[[str], None]) -> dict[str, dict[str, Any]]:
        path = self._folder / MANIFEST
        if not path.exists():
            return {}
        try:
            manifest = files.read_json(path)
            listed = manifest.pop("files")
            if manifest != self._key:
                raise ValueError("it is of another teacher or other views")
            return dict(listed)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            damaged(f"{path} is not used: {error}")
            return {}

    def _read(self, name: str) -> np.ndarray:
        rows, classes = self.shape[1:]
        limit = _HEADER_BYTES + 2 * rows * classes
        content = files.read_bytes(self._folder / name, limit)
        if _facts(content) != self._files[name]:
            raise ValueError("its bytes are not those of the manifest")
        array = arrays.npy(content)
        if array.dtype != np.float16 or array.shape != self.shape[1:]:
            raise ValueError(f"it holds {array.dtype} {array.shape}")
        return array

    def add(self, view: int, logits: np.ndarray, *, write: bool) -> bool:
        """Takes float [rows, classes] of one view, and writes it if asked to.

        Only differences within a row matter, so its largest becomes 0: float16 then
        rounds the answers that matter least.

        Returns:
            Whether the folder had other bytes for this view before they were damaged.

        Raises:
            ValueError: they are not finite.
            OSError: the disk is full or gone.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # found by the next line
            half = (logits - logits.max(axis=1, keepdims=True)).astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError("its logits are not finite in float16")
        self._views[view] = half
        packed = io.BytesIO()
        np.save(packed, half)
        name, facts = _name(view), _facts(packed.getvalue())
        differs = self._files.get(name, facts) != facts
        if write:
            self._files[name] = facts
            self._folder.mkdir(exist_ok=True)
            files.write_bytes(self._folder / name, packed.getvalue())
            manifest = {**self._key, "files": self._files}
            files.write_json(self._folder / MANIFEST, manifest)
        return differs

    def array(self) -> np.ndarray:
        """Float16 [views, rows, classes]; no view may be missing."""
        return np.stack([self._views[view] for view in range(self.shape[0])])

    @property
    def sha256(self) -> str:
        """Over all of them."""
        return hashlib.sha256(self.array().tobytes()).hexdigest()


def _name(view: int) -> str:
    return f"view-{view:03}.npy"


def _facts(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


if typing.TYPE_CHECKING:
    from trainer.training.session import TrainingSession

FOLDER = "teacher"  # in the student's run directory
POLL_SECS = 0.2


def prepare_soft_labels(job: "TrainingSession", *, write: bool = True) -> None:
    """Gives the steps of `job` the teacher's answers; computes those not yet kept.

    The chief computes, the other workers wait for its files.

    Raises:
        Stopped: with 175, the disk is full, or not all workers read the same.
    """
    taught = job.images
    if not isinstance(taught, DistillationTargets):
        return
    answers = SoftLabelCache(job.run.path / FOLDER, _key(job), taught.shape_of_answers)
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


def _key(job: "TrainingSession") -> dict[str, typing.Any]:
    data = job.config.data
    return {
        "weights_sha256": job.config.teacher.weights_sha256,
        "data_sha256": job.data.train.sha256,
        "validation_fraction": data.validation_fraction,
        "augment": data.augment.value,
        "crop_pixels": data.crop_pixels,
    }


def _compute(job: "TrainingSession", answers: SoftLabelCache, *, write: bool) -> None:
    """Lets the teacher answer the views that are missing, and keeps each at once."""
    found, config = teacher.find_teacher(job.config, job.run_config), job.config
    say, (views, rows, _) = job.progress.say, answers.shape
    say(
        f"teacher {found.path} answers {len(answers.missing)} of {views} views of "
        f"{rows:,} images, once"
    )
    if remark := teacher.leakage_warning(found.config(), config):
        say(f"warning: {remark}")
    asked = TeacherLabeler(job, found, answers)
    for view in answers.missing:
        try:
            if answers.add(view, asked.logits(view), write=write):
                say(f"view {view} was computed anew and differs: bits may, too")
        except ValueError as error:
            raise UsageError(f"--teacher={found.path}: {error}") from error
        except OSError as error:
            raise as_failure(
                "the teacher's answers could not be written", error
            ) from error


class TeacherLabeler:
    """Asks a teacher, telling how far it is."""

    def __init__(
        self, job: "TrainingSession", run: Run, answers: SoftLabelCache
    ) -> None:
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
        self._evaluator.load(
            teacher.load_weights(run, job.config.teacher.weights_sha256)
        )
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


def _wait(job: "TrainingSession", answers: SoftLabelCache) -> None:
    """Reads what the chief writes; the heartbeat waits as long as the chief does."""
    job.heartbeat.beat("teach", job.state.step)
    answers.load(damaged=lambda _: None)
    while answers.missing:
        time.sleep(POLL_SECS)
        answers.load(damaged=lambda _: None)


def _agree(job: "TrainingSession", sha256: str) -> None:
    job.heartbeat.beat("restore", job.state.step)
    held = collectives.gather(job.cluster, [collectives.digest(sha256)])
    if (held != held[0]).any():
        raise Interrupted(
            f"the workers read different answers of the teacher from {job.run.path};\n"
            "let all see the same files and restart the whole group",
            EXIT_PEER_LOST,
        )
