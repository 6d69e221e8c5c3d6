"""Soft labels: a teacher's logits for every view of every row, computed once.

A teacher may be several times as costly as its student, and the views that
augmentation can give are few enough to be counted. So it labels all of them before the
first step, and a resumed run reads what is kept.

Layout: ``teacher/view-000.npy`` (float16 [rows, classes], the rows learnt from in
ascending order) and ``teacher/manifest.json`` with what decides them and size and
SHA-256 of each file. A view is on disk as soon as it is computed, so a kill loses one.
"""

import hashlib
import io
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from trainer import files
from trainer.config.enums import Precision
from trainer.config.schema import Config
from trainer.data.augmentation import AugmentationIndex
from trainer.data.dataset import Dataset
from trainer.distillation.teacher import leakage_warning, load_weights
from trainer.distributed.collectives import digest, gather
from trainer.distributed.strategy import Cluster
from trainer.errors import InvalidInput, PeerLost
from trainer.models.evaluator import Evaluator
from trainer.monitoring.monitor import Monitor
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
        self.folder, self.shape = folder, shape
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
                    damaged(f"{self.folder / name} is not used: {error}")

    def _listed(self, damaged: Callable[[str], None]) -> dict[str, dict[str, Any]]:
        path = self.folder / MANIFEST
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
        content = files.read_bytes(self.folder / name, limit)
        if _facts(content) != self._files[name]:
            raise ValueError("its bytes are not those of the manifest")
        array = arrays.parse_npy(content)
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
            self.folder.mkdir(exist_ok=True)
            files.write_bytes(self.folder / name, packed.getvalue())
            manifest = {**self._key, "files": self._files}
            files.write_json(self.folder / MANIFEST, manifest)
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


FOLDER = "teacher"  # in the student's run directory
POLL_SECS = 0.2


def cache_key(config: Config, train_sha256: str) -> dict[str, Any]:
    """What decides the soft labels: the teacher, the rows and their views."""
    data = config.data
    return {
        "weights_sha256": config.distillation.teacher_sha256,
        "data_sha256": train_sha256,
        "validation_fraction": data.validation_fraction,
        "augment": data.augment.value,
        "crop_pixels": data.crop_pixels,
    }


class TeacherLabeler:
    """Computes a teacher's logits of the rows learnt from, one view at a time.

    Args:
        teacher: the finished run that teaches.
        config: of the student.
        dataset: whose training rows are labelled.
        device: where the teacher computes.
    """

    def __init__(
        self, teacher: Run, config: Config, dataset: Dataset, device: str
    ) -> None:
        self.path, self._dataset = teacher.path, dataset
        self._views = AugmentationIndex.from_config(config.data)
        theirs = teacher.config()
        self.warning = leakage_warning(theirs, config)
        self._evaluator = Evaluator(
            theirs.model,
            image_shape=dataset.image_shape,
            num_classes=len(dataset.train.names),
            device=device,
            precision=_precision(theirs),
        )
        self._evaluator.load(load_weights(teacher, config.distillation.teacher_sha256))

    def logits(self, view: int, on_batch: Callable[[int], None]) -> np.ndarray:
        """Float [rows, classes] of all rows learnt from, seen in that view.

        `on_batch` is told the number of images just done.
        """
        parts, size = [], self._evaluator.batch
        learnt, images = self._dataset.learnt, self._dataset.train.images
        for first in range(0, len(learnt), size):
            rows = learnt[first : first + size]
            parts.append(self._evaluator.logits(self._views.render(images[rows], view)))
            on_batch(len(rows))
        return np.concatenate(parts)


def _precision(config: Config) -> str:
    """In which a teacher labels: bfloat16 if it was trained so, or else float32.

    Of the cnn trained in bfloat16, on 2,000 CIFAR-10 images, bfloat16 was 2 to 2.7
    times as fast on two cores with AVX512-BF16 (1,750 to 2,300 images/s) and 1.1e-5
    nats (KL at temperature 2, mean) away from float32.
    """
    half = config.precision is Precision.MIXED_BFLOAT16
    return (Precision.MIXED_BFLOAT16 if half else Precision.FLOAT32).value


def prepare_soft_labels(
    cache: SoftLabelCache,
    open_labeler: Callable[[], TeacherLabeler],
    cluster: Cluster,
    monitor: Monitor,
    *,
    write: bool = True,
) -> np.ndarray:
    """The teacher's logits, float16 [views, rows, classes]; computes what is missing.

    The chief computes, the other workers wait for its files.

    Raises:
        Interrupted: with 175, the disk is full, or not all workers read the same.
    """
    if cluster.chief:
        cache.load(damaged=monitor.say)
        if cache.missing:
            _label_missing_views(cache, open_labeler, monitor, write=write)
    else:
        _wait_for_chief(cache, monitor)
    if cluster.workers > 1:
        _verify_agreement(cache, cluster, monitor)
    return cache.array()


def _label_missing_views(
    cache: SoftLabelCache,
    open_labeler: Callable[[], TeacherLabeler],
    monitor: Monitor,
    *,
    write: bool,
) -> None:
    """Lets the teacher label the views that are missing, and keeps each at once."""
    monitor.heartbeat.beat("compile")
    labeler, (views, rows, _) = open_labeler(), cache.shape
    monitor.say(
        f"teacher {labeler.path} answers {len(cache.missing)} of {views} views of "
        f"{rows:,} images, once"
    )
    if labeler.warning:
        monitor.say(f"warning: {labeler.warning}")
    report = _LabelProgress(monitor, views, len(cache.missing) * rows)
    for view in cache.missing:
        try:
            logits = labeler.logits(view, lambda done, view=view: report(view, done))
            if cache.add(view, logits, write=write):
                monitor.say(f"view {view} was computed anew and differs: bits may, too")
        except ValueError as error:
            raise InvalidInput(f"teacher={labeler.path}: {error}") from error
        except OSError as error:
            raise as_failure(
                "the teacher's answers could not be written", error
            ) from error


class _LabelProgress:
    """The progress line of a teacher that labels `total` images in all views."""

    def __init__(self, monitor: Monitor, views: int, total: int) -> None:
        self._monitor, self._views, self._total = monitor, views, total
        self._done, self._start = 0, monitor.timer.now()

    def __call__(self, view: int, count: int) -> None:
        self._done += count
        secs = self._monitor.timer.now() - self._start
        left = secs / self._done * (self._total - self._done)
        self._monitor.heartbeat.beat("teach")
        self._monitor.progress.update(
            f"teacher: view {view + 1}/{self._views}  ETA {duration(left)}  "
            f"{self._done / max(secs, 1e-9):,.0f} images/s",
            last=self._done == self._total,
        )


def _wait_for_chief(cache: SoftLabelCache, monitor: Monitor) -> None:
    """Reads what the chief writes; the heartbeat waits as long as the chief does."""
    monitor.heartbeat.beat("teach")
    cache.load(damaged=lambda _: None)
    while cache.missing:
        time.sleep(POLL_SECS)
        cache.load(damaged=lambda _: None)


def _verify_agreement(
    cache: SoftLabelCache, cluster: Cluster, monitor: Monitor
) -> None:
    monitor.heartbeat.beat("restore")
    held = gather(cluster, [digest(cache.sha256)])
    if (held != held[0]).any():
        raise PeerLost(
            f"the workers read different answers of the teacher from {cache.folder};\n"
            "let all see the same files and restart the whole group"
        )
