"""Soft labels: the logits of a teacher for every view of every row, computed once.

A teacher may cost several times as much as its student, and augmentation without cutout
has a small number of views. So the teacher labels all views before the first step, and
a resumed run reads them from its cache.

Layout: ``teacher/view-000.npy`` (float16 [rows, classes], the training rows in
ascending order) and ``teacher/manifest.json`` with the key of the cache, and the size
and SHA-256 of each file. A view is written as soon as it is computed, so a kill loses
at most one. A stop signal loses at most a batch: ``teacher/view-000.rows.npy`` keeps
the first rows of the view in progress until it is whole.
"""

import hashlib
import io
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from trainer import files
from trainer.config.enums import Precision
from trainer.config.schema import Config
from trainer.data.augmentation.views import AugmentationIndex
from trainer.data.dataset import Dataset
from trainer.distillation.teacher import OPTION, leakage_warning
from trainer.distributed.collectives import digest, gather
from trainer.distributed.strategy import Cluster
from trainer.errors import Interrupted, InvalidInput, PeerLost
from trainer.models.evaluator import Evaluator
from trainer.monitoring.monitor import Monitor
from trainer.monitoring.progress import duration
from trainer.rundir import arrays, finished
from trainer.rundir.layout import Run
from trainer.storage import as_failure

VERSION = 1
MANIFEST = "manifest.json"
_HEADER_BYTES = 4096  # NumPy's own has 128


class SoftLabelCache:
    """Cache of float16 logits [views, rows, classes].

    Args:
        folder: the folder of the files.
        key: everything that decides the logits; files with another key are not used.
        shape: number of views, rows and classes.
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
        """The views that are not computed yet."""
        return [view for view in range(self.shape[0]) if view not in self._views]

    def load(self, *, damaged: Callable[[str], None]) -> None:
        """Loads the valid files of the folder; calls `damaged` with each problem."""
        self._files = self._listed(damaged)
        for view in self.missing:
            array = self._load_file(_name(view), damaged)
            if array is not None:
                self._views[view] = array

    def load_rows(self, view: int, *, damaged: Callable[[str], None]) -> np.ndarray:
        """Loads the first rows of a view that was stopped: float16 [n, classes].

        n is 0 if no rows are kept; `damaged` is called if they cannot be used.
        """
        array = self._load_file(_rows_name(view), damaged, whole=False)
        return np.zeros((0, self.shape[2]), np.float16) if array is None else array

    def _load_file(
        self, name: str, damaged: Callable[[str], None], *, whole: bool = True
    ) -> np.ndarray | None:
        if name not in self._files:
            return None
        try:
            return self._read(name, whole=whole)
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged(f"{self.folder / name} is not used: {error}")
            return None

    def _listed(self, damaged: Callable[[str], None]) -> dict[str, dict[str, Any]]:
        path = self.folder / MANIFEST
        if not path.exists():
            return {}
        try:
            manifest = files.read_json(path)
            listed = manifest.pop("files")
            if manifest != self._key:
                raise ValueError("it belongs to another teacher or other views")
            return dict(listed)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            damaged(f"{path} is not used: {error}")
            return {}

    def _read(self, name: str, *, whole: bool) -> np.ndarray:
        rows, classes = self.shape[1:]
        limit = _HEADER_BYTES + 2 * rows * classes
        content = files.read_bytes(self.folder / name, limit)
        if _facts(content) != self._files[name]:
            raise ValueError("its bytes are not those of the manifest")
        array = arrays.parse_npy(content)
        count = rows if whole else min(len(array), rows)
        if array.dtype != np.float16 or array.shape != (count, classes):
            raise ValueError(f"it holds {array.dtype} {array.shape}")
        return array

    def add(self, view: int, logits: np.ndarray, *, write: bool) -> bool:
        """Adds the logits of one view, float [rows, classes]; writes them if `write`.

        Only differences within a row matter, so the largest logit is shifted to 0: then
        float16 rounds most where logits matter least.

        Returns:
            Whether the manifest has another hash for this view, whose file was damaged.

        Raises:
            ValueError: the logits are not finite in float16.
            OSError: the disk is full or gone.
        """
        half = _round_logits(logits)
        self._views[view] = half
        name, content = _name(view), _packed(half)
        facts = _facts(content)
        differs = self._files.get(name, facts) != facts
        if write:
            self._files.pop(_rows_name(view), None)
            self._write(name, content, facts)
            (self.folder / _rows_name(view)).unlink(missing_ok=True)
        return differs

    def write_rows(self, view: int, logits: np.ndarray) -> None:
        """Writes the first rows of a view, float [n, classes], for the next start.

        Raises:
            ValueError, OSError: as `add`.
        """
        if len(logits) == self.shape[1]:
            self.add(view, logits, write=True)
        elif len(logits):
            content = _packed(_round_logits(logits))
            self._write(_rows_name(view), content, _facts(content))

    def _write(self, name: str, content: bytes, facts: dict[str, Any]) -> None:
        self.folder.mkdir(exist_ok=True)
        files.write_bytes(self.folder / name, content)
        self._files[name] = facts
        manifest = {**self._key, "files": self._files}
        files.write_json(self.folder / MANIFEST, manifest)

    def array(self) -> np.ndarray:
        """Stacks all views to float16 [views, rows, classes]; none may be missing."""
        return np.stack([self._views[view] for view in range(self.shape[0])])

    @property
    def sha256(self) -> str:
        """SHA-256 of the logits of all views."""
        return hashlib.sha256(self.array().tobytes()).hexdigest()


def _name(view: int) -> str:
    return f"view-{view:03}.npy"


def _rows_name(view: int) -> str:
    return f"view-{view:03}.rows.npy"


def _round_logits(logits: np.ndarray) -> np.ndarray:
    """Rounds logits to float16 with the largest of each row at 0.

    What was rounded before is not changed.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # checked below
        half = (logits - logits.max(axis=1, keepdims=True)).astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError("its logits are not finite in float16")
    return half


def _packed(array: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.save(packed, array)
    return packed.getvalue()


def _facts(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


FOLDER = "teacher"  # in the run directory of the student
POLL_SECS = 0.2


def cache_key(config: Config, train_sha256: str) -> dict[str, Any]:
    """Collects everything that decides the soft labels: teacher, rows and views."""
    data = config.data
    return {
        "weights_sha256": config.distillation.teacher_sha256,
        "data_sha256": train_sha256,
        "validation_fraction": data.validation_fraction,
        "augment": data.augment.value,
        "crop_pixels": data.crop_pixels,
    }


class TeacherLabeler:
    """Computes the logits of a teacher for the training rows, one view at a time.

    Args:
        teacher: the finished run of the teacher.
        config: the config of the student.
        dataset: the data set whose training rows are labelled.
        device: the device that the teacher runs on.
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
        sha256 = config.distillation.teacher_sha256
        self._evaluator.load(finished.load_weights(teacher, sha256, OPTION))

    @property
    def batch(self) -> int:
        """Number of images in a batch."""
        return self._evaluator.batch

    def logits(self, view: int, start: int) -> Iterator[np.ndarray]:
        """Yields float [batch, classes] of one view of the training rows from `start`.

        `start` is a multiple of the batch, so that each row has its place in a batch.
        """
        learnt, images = self._dataset.learnt, self._dataset.train.images
        for first in range(start, len(learnt), self.batch):
            rows = learnt[first : first + self.batch]
            yield self._evaluator.logits(self._views.render(images[rows], view))


def _precision(config: Config) -> str:
    """Chooses the precision of a teacher: bfloat16 if it was trained so, else float32.

    With the cnn trained in bfloat16, on 2,000 CIFAR-10 images, bfloat16 was 2 to 2.7
    times as fast as float32 on two cores with AVX512-BF16 (1,750 to 2,300 images/s),
    and the mean KL divergence from float32 at temperature 2 was 1.1e-5 nats.
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
    """Loads or computes the teacher's logits: float16 [views, rows, classes].

    The chief computes them, and the other workers wait for its files.

    Raises:
        Interrupted: with exit code 175: the disk is full, or the workers read different
            logits.
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
    """Computes the missing views and adds each to the cache as soon as it is done."""
    monitor.heartbeat.write("compile")
    labeler, (views, rows, _) = open_labeler(), cache.shape
    monitor.say(
        f"teacher {labeler.path} labels {len(cache.missing)} of {views} views of "
        f"{rows:,} images, once"
    )
    if labeler.warning:
        monitor.say(f"warning: {labeler.warning}")
    report = _LabelProgress(monitor, views, len(cache.missing) * rows)
    for view in cache.missing:
        try:
            if _label_view(cache, view, labeler, monitor, report, write=write):
                monitor.say(
                    f"view {view} was computed again and differs: bits may differ"
                )
        except ValueError as error:
            raise InvalidInput(f"teacher={labeler.path}: {error}") from error
        except OSError as error:
            raise as_failure(
                "the soft labels of the teacher could not be written", error
            ) from error


class _LabelProgress:
    """Progress of a teacher that labels `total` images over all views."""

    def __init__(self, monitor: Monitor, views: int, total: int) -> None:
        self._monitor, self._views, self._total = monitor, views, total
        self._done, self._start = 0, monitor.timer.now()

    def skip(self, count: int) -> None:
        """Leaves out `count` images that an earlier process labelled."""
        self._total -= count

    def __call__(self, view: int, count: int) -> None:
        self._done += count
        secs = self._monitor.timer.now() - self._start
        left = secs / self._done * (self._total - self._done)
        self._monitor.heartbeat.write("teach")
        self._monitor.progress.update(
            f"teacher: view {view + 1}/{self._views}  ETA {duration(left)}  "
            f"{self._done / max(secs, 1e-9):,.0f} images/s",
            last=self._done == self._total,
        )


def _label_view(
    cache: SoftLabelCache,
    view: int,
    labeler: TeacherLabeler,
    monitor: Monitor,
    report: _LabelProgress,
    *,
    write: bool,
) -> bool:
    """Adds one view to the cache, from the rows on that an earlier process kept.

    If a signal stops it, the finished batches are kept. Returns what `add` returns.
    """
    kept = cache.load_rows(view, damaged=monitor.say)
    parts = [kept[: len(kept) // labeler.batch * labeler.batch]]
    report.skip(len(parts[0]))
    try:
        for part in labeler.logits(view, len(parts[0])):
            parts.append(part)
            report(view, len(part))
        return cache.add(view, np.concatenate(parts), write=write)
    except Interrupted:
        if write:
            _keep_rows(cache, view, np.concatenate(parts), monitor)
        raise


def _keep_rows(
    cache: SoftLabelCache, view: int, logits: np.ndarray, monitor: Monitor
) -> None:
    """Writes the rows of a stopped view; without them it is only computed again."""
    try:
        cache.write_rows(view, logits)
    except (OSError, ValueError) as error:
        monitor.say(f"the first rows of view {view} are not kept: {error}")


def _wait_for_chief(cache: SoftLabelCache, monitor: Monitor) -> None:
    """Waits until the chief has written all views, and loads them."""
    monitor.heartbeat.write("teach")
    cache.load(damaged=lambda _: None)
    while cache.missing:
        time.sleep(POLL_SECS)
        cache.load(damaged=lambda _: None)


def _verify_agreement(
    cache: SoftLabelCache, cluster: Cluster, monitor: Monitor
) -> None:
    monitor.heartbeat.write("restore")
    held = gather(cluster, [digest(cache.sha256)])
    if (held != held[0]).any():
        raise PeerLost(
            f"the workers read different soft labels from {cache.folder};\n"
            "give all of them the same files and restart the whole group"
        )
