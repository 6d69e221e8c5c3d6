"""Evaluation: a subject's probabilities for every test image, and how they were had."""

import dataclasses
import io
import sys
from collections.abc import Iterable

import numpy as np
import tensorflow_datasets as tfds

from eval import progress_bar
from eval.metrics import calibration, classification
from eval.metrics.calibration import Calibration
from eval.model_source import ModelSource
from eval.predictors import input_range_check
from eval.predictors.predictor import Predictor
from trainer.config.enums import EvalTta
from trainer.config.schema import RunConfig
from trainer.data import classes, preparation, tfds_source
from trainer.data.split import Split
from trainer.distributed import strategy
from trainer.errors import UsageError
from trainer.models import evaluator
from trainer.monitoring import native_output
from trainer.monitoring.progress import OnBatch

DEFAULT_DATASET = "cifar10"  # of a file that does not name its own


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What everything in a report is computed from.

    Attributes:
        dataset: name, configuration and version.
        probabilities: float64 [N, C], as the model answers.
        floor: the probability below which one reads as 0.
    """

    subject: ModelSource
    predictor: Predictor
    dataset: str
    split: Split
    calibration: Calibration
    probabilities: np.ndarray
    floor: float

    @property
    def remarks(self) -> list[str]:
        """What a reader must know of the data before the figures."""
        return remarks(self.subject, self.predictor, self.split, self.dataset)

    @property
    def softened(self) -> np.ndarray:
        """The probabilities at the subject's temperature, if it has one."""
        value = self.calibration.temperature or 1.0
        return calibration.apply_temperature(self.probabilities, value, self.floor)

    def answer(self, images: np.ndarray, tick: OnBatch) -> np.ndarray:
        """Probabilities of other `images`, at the subject's temperature."""
        value = self.calibration.temperature or 1.0
        return calibration.apply_temperature(
            self.predictor(images, tick), value, self.floor
        )

    def packed(self) -> bytes:
        """predictions.npz: ids, labels, probabilities, and how they were had."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            ids=np.array(self.split.ids),
            labels=self.split.labels,
            probabilities=self.probabilities,
            floor=self.floor,
            eval_tta=np.array(self.predictor.tta.value),
            model_sha256=np.array(self.subject.facts["sha256"]),
            data_sha256=np.array(self.split.sha256),
        )
        return buffer.getvalue()


def start_devices() -> None:
    """Makes TensorFlow's devices: every core, every visible GPU."""
    with native_output.suppress_native_stderr():
        strategy.set_threads(None)
        strategy.connect(RunConfig())


def warn(lines: Iterable[str]) -> None:
    """Prints to stderr what must be known before the numbers."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def prepare_data(
    source: ModelSource, dataset: str | None = None, data_dir: str | None = None
) -> tfds.core.DatasetBuilder:
    """The prepared data set `dataset` in `data_dir`; None: the model's own.

    Raises:
        UsageError: it is unknown, or it is not prepared and cannot be.
    """
    name = source.dataset if dataset is None else dataset
    if name is None:
        name = DEFAULT_DATASET
        warn(
            [
                f"{source.name} does not say what it was trained on: it is asked about"
                f" {name} (--dataset names another)"
            ]
        )
    if not name:
        raise UsageError("--dataset= is empty; name a TFDS data set, e.g. cifar10")
    folder = source.data_dir if data_dir is None else data_dir
    return preparation.prepare(name, folder, say=lambda line: warn([line]))


def load_split(builder: tfds.core.DatasetBuilder, which: str) -> Split:
    """Split `which` of a prepared data set, without TensorFlow's own lines."""
    with native_output.suppress_native_stderr("reading the data set"):
        return tfds_source.load_split(builder, which)


def open_predictor(
    subject: ModelSource, split: Split, eval_tta: EvalTta = EvalTta.NONE
) -> Predictor:
    """The Predictor of `subject` for images like those of `split`.

    Raises:
        UsageError: it does not classify such images.
    """
    own, shape = subject.classes, split.images.shape[1:]
    classes.check_shape(subject.image_shape, shape, subject.name)
    places = (
        None if own is None else classes.match_classes(own, split.names, subject.name)
    )
    predictor = subject.open(shape, len(split.names))
    predictor.check(shape, len(split.names))
    predictor = predictor.ordered(places)
    predictor.notes += input_range_check.suggestion(predictor, split)
    return predictor.averaging(eval_tta)


def remarks(
    subject: ModelSource, predictor: Predictor, split: Split, dataset: str
) -> list[str]:
    """Lines on classes in another order, data not the model's own, doubtful inputs."""
    found = [classes.describe_reordering(subject.classes, split.names, subject.name)]
    own = subject.trained_on.get("test")
    if own not in (None, split.sha256):
        found.append(
            f"{dataset}, {split.split}, is not the test split that belongs to the"
            f" training data of {subject.name}: {split.sha256[:12]} here,"
            f" {own[:12]} there"
        )
    elif own is None and subject.dataset and not _named(subject.dataset, dataset):
        found.append(
            f"{subject.name} was trained on {subject.dataset}: it is asked about"
            f" {dataset}, {split.split}"
        )
    return [line for line in found if line] + predictor.notes


def _named(name: str, full_name: str) -> bool:
    """Whether a data set's full name, with version, is that of `name`."""
    return f"{full_name}/".startswith(f"{name.split(':')[0]}/")


def evaluate(
    subject: ModelSource,
    predictor: Predictor,
    split: Split,
    builder: tfds.core.DatasetBuilder,
) -> Evaluation:
    """Runs `predictor` on every image of `split`, a test split of `builder`.

    Raises:
        ValueError: an answer is not finite or no probability.
    """
    answers = len(split.images) * evaluator.count_views(predictor.tta)
    with progress_bar.progress_bar(answers, f"{split.split} images") as tick:
        probabilities = predictor(split.images, tick)
    classification.check(probabilities, split.labels)
    return Evaluation(
        subject=subject,
        predictor=predictor,
        dataset=builder.info.full_name,
        split=split,
        calibration=_calibration(subject, predictor, builder, split),
        probabilities=probabilities,
        floor=predictor.floor,
    )


def _calibration(
    subject: ModelSource,
    predictor: Predictor,
    builder: tfds.core.DatasetBuilder,
    test: Split,
) -> Calibration:
    if predictor.tta is not EvalTta.NONE:
        return calibration.uncalibrated(
            "Uncalibrated: temperatures belong to what ships, and that answers without"
            " test-time augmentation."
        )
    if subject.run is None:
        return calibration.from_manifest(subject.manifest)
    if not subject.final:
        return calibration.uncalibrated(
            "Uncalibrated: this checkpoint is not the run's last."
        )
    return calibration.from_run(
        subject.run,
        subject.facts["sha256"],
        predictor.counted("calibration"),
        lambda: load_split(builder, "train"),
        test,
    )
