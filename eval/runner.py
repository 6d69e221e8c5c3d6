"""Evaluation of a model: its probabilities for every image of a split."""

import dataclasses
import io
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

import numpy as np

from eval import model_source
from eval.metrics import calibration, classification
from eval.metrics.calibration import Calibration
from eval.metrics.validation_rows import ValidationAnswers
from eval.model_source import ModelSource
from eval.predictors import input_range_check
from eval.predictors.file_options import FileOptions
from eval.predictors.predictor import Predictor
from eval.splits import evaluation_rows
from eval.splits.evaluation_options import DataChoice, EvaluationSplit
from trainer.config.enums import EvalTta
from trainer.config.run_config import RunConfig
from trainer.data import classes, loading
from trainer.data.split import IMAGE_DIR, IMAGE_LIST, DataSource, Split
from trainer.data.store.request import FilesRequest
from trainer.distributed import strategy
from trainer.errors import InvalidInput
from trainer.models import evaluator
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE, OnBatch
from trainer.rundir.layout import Run

DEFAULT_DATASET = "cifar10"  # of a file that does not name its own


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One model's probabilities for a split, from which a report is computed.

    Attributes:
        dataset: name, configuration and version.
        probabilities: float64 [N, C], as the model gives them.
        validation: the answers to the validation rows, where it is a run.
        min_probability: the probability below which one reads as 0.
        data_remarks: lines on the data, such as files that were left out.
    """

    source: ModelSource
    predictor: Predictor
    dataset: str
    split: Split
    calibration: Calibration
    probabilities: np.ndarray
    validation: ValidationAnswers
    min_probability: float
    data_remarks: tuple[str, ...] = ()

    @property
    def remarks(self) -> list[str]:
        """Lines that a reader must know before the numbers."""
        found = remarks(self.source, self.predictor, self.split, self.dataset)
        return [*self.data_remarks, *found]

    @property
    def calibrated(self) -> np.ndarray:
        """The probabilities at the model's temperature, if it has one."""
        value = self.calibration.temperature or 1.0
        return calibration.apply_temperature(
            self.probabilities, value, self.min_probability
        )

    def predict(self, images: np.ndarray, tick: OnBatch) -> np.ndarray:
        """Predicts probabilities of other `images` at the model's temperature."""
        value = self.calibration.temperature or 1.0
        return calibration.apply_temperature(
            self.predictor(images, tick), value, self.min_probability
        )

    def to_npz(self) -> bytes:
        """Content of predictions.npz: ids, labels, probabilities and their hashes."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            ids=np.array(self.split.ids),
            labels=self.split.labels,
            probabilities=self.probabilities,
            floor=self.min_probability,
            eval_tta=np.array(self.predictor.tta.value),
            model_sha256=np.array(self.source.facts["sha256"]),
            data_sha256=np.array(self.split.sha256),
        )
        return buffer.getvalue()


def start_devices() -> None:
    """Initialises TensorFlow's devices: every core, every visible GPU."""
    with native_output.suppress_native_stderr():
        strategy.set_threads(None)
        strategy.connect(RunConfig())


def open_source(
    run: Run | None,
    checkpoint: int | None,
    model: pathlib.Path | None,
    options: FileOptions,
) -> ModelSource:
    """Opens a run, at the step `checkpoint` or at its end, or else a model file.

    TensorFlow's devices are started.

    Raises:
        InvalidInput: it cannot be used.
    """
    if run is not None:
        model_source.refuse_unsigned_run(run.path, options)
        source = model_source.from_run(run, checkpoint)
        start_devices()
        return source
    start_devices()
    with native_output.suppress_native_stderr(f"opening {model}"):
        return model_source.from_file(model, options)


def print_line(line: str) -> None:
    """Prints a line to stderr."""
    print(line, file=sys.stderr, flush=True)


def open_evaluation(
    sources: Sequence[ModelSource],
    chosen: DataChoice,
    given: DataSource | None,
    say: Callable[[str], object] = print_line,
) -> tuple[DataSource, Split]:
    """Opens the data of the first of `sources` and the images that judge all of them.

    Args:
        sources: the models.
        chosen: which images.
        given: the data set itself, for which `chosen` names none; None: its own.
        say: is called with each line that must be known.

    Raises:
        InvalidInput: they are unknown, not prepared and cannot be, or an opening of the
            test split of a study cannot be recorded.
    """
    kind = evaluation_rows.choose(sources, chosen.split)
    test = kind is EvaluationSplit.TEST
    data = given or open_data(sources[0], chosen, say, test=test)
    return data, evaluation_rows.load(kind, sources, data, say)


def open_data(
    source: ModelSource,
    chosen: DataChoice | None = None,
    say: Callable[[str], object] = print_line,
    *,
    test: bool = True,
) -> DataSource:
    """Opens the chosen images; by default those that `source` was trained on.

    `say` is called with each line that must be known. Without `test` that split is not
    needed, and image files of it are not opened.

    Raises:
        InvalidInput: they are unknown, or not prepared and cannot be.
    """
    chosen = chosen or DataChoice()
    name = source.dataset if chosen.dataset is None else chosen.dataset
    named = {
        kind: path
        for kind in (IMAGE_DIR, IMAGE_LIST)
        if (path := getattr(chosen, kind)) is not None
    }
    if named or name in (IMAGE_DIR, IMAGE_LIST):
        return _open_files(source, chosen, named, say, test=test)
    if chosen.skip_unreadable:
        raise InvalidInput(
            f"`skip_unreadable` is for image files, and dataset={name} has none; leave"
            " it out"
        )
    if name is None:
        name = DEFAULT_DATASET
        say(
            f"{source.name} does not say what it was trained on: it is evaluated on"
            f" {name} (`dataset` names another)"
        )
    if not name:
        raise InvalidInput("`dataset` is empty; name a TFDS data set, e.g. cifar10")
    folder = source.data_dir if chosen.data_dir is None else chosen.data_dir
    found = loading.open_source(name, folder, say=say)
    return found if source.resized is None else found.with_pixels(source.resized)


def _open_files(
    source: ModelSource,
    chosen: DataChoice,
    named: dict[str, str],
    say: Callable[[str], object],
    *,
    test: bool,
) -> DataSource:
    """Opens image files as the pixels that `source` takes."""
    request = dataclasses.replace(source.image_files or FilesRequest(), test=test)
    if named:
        request = dataclasses.replace(request, image_dir=None, image_list=None)
        request = dataclasses.replace(request, **named)
    if chosen.data_dir is not None:
        request = dataclasses.replace(request, data_dir=chosen.data_dir)
    if chosen.skip_unreadable:
        request = dataclasses.replace(request, skip_unreadable=True)
    if request.path is not None and not os.path.exists(request.path):
        raise InvalidInput(
            f"{request.option}, which {source.name} is evaluated on, does not exist;\n"
            "name where its image files are with `image_dir` or `image_list`"
        )
    return loading.open_files(request, say=say)


def open_predictor(
    source: ModelSource, split: Split, eval_tta: EvalTta = EvalTta.NONE
) -> Predictor:
    """Opens the Predictor of `source` for images like those of `split`.

    Raises:
        InvalidInput: it does not classify such images.
    """
    own, shape = source.classes, split.images.shape[1:]
    classes.check_shape(source.image_shape, shape, source.name)
    order = None
    if own is not None:
        order = classes.match_classes(own, split.names, source.name)
    predictor = source.open(shape, len(split.names))
    predictor.check_fits(shape, len(split.names))
    predictor = predictor.with_class_order(order)
    predictor.notes += input_range_check.suggest_reading(predictor, split)
    return predictor.with_tta(eval_tta)


def remarks(
    source: ModelSource, predictor: Predictor, split: Split, dataset: str
) -> list[str]:
    """Lines on classes in another order, data not the model's own, doubtful inputs."""
    found = [classes.describe_reordering(source.classes, split.names, source.name)]
    own = source.trained_on.get("test")
    if split.held_out:
        found.append(evaluation_rows.describe(split, source.name))
    elif own not in (None, split.sha256):
        found.append(
            f"{dataset}, {split.split}, is not the test split that belongs to the"
            f" training data of {source.name}: {split.sha256[:12]} here,"
            f" {own[:12]} there"
        )
    elif own is None and source.dataset and not _named(source.dataset, dataset):
        found.append(
            f"{source.name} was trained on {source.dataset}: it is evaluated on"
            f" {dataset}, {split.split}"
        )
    found.append(_describe_views(source, predictor))
    return [line for line in found if line] + predictor.notes


def _describe_views(source: ModelSource, predictor: Predictor) -> str | None:
    """Why the accuracy is another one than that of the training; None: it is not."""
    if source.run is None or not source.final:
        return None
    result = source.run.result() or {}
    before, now = result.get("eval_tta", EvalTta.NONE.value), predictor.tta.value
    accuracy = result.get("test_accuracy")
    if before == now or not isinstance(accuracy, float):
        return None
    without = EvalTta.NONE.value
    words = {one: f"with eval_tta={one}" for one in (before, now)}
    words |= {without: "without test-time augmentation, as exported files are"}
    return (
        f"{source.name} is evaluated {words[now]}: at the end of its training it was "
        f"{accuracy:.2%} {words[before]}"
    )


def _named(name: str, full_name: str) -> bool:
    """Whether a data set's full name, with version, is that of `name`."""
    return f"{full_name}/".startswith(f"{name.split(':')[0]}/")


def evaluate(
    source: ModelSource,
    predictor: Predictor,
    split: Split,
    data: DataSource,
) -> Evaluation:
    """Runs `predictor` on every image of `split`, which `data` has.

    Raises:
        ValueError: an output is not finite or no probability.
    """
    views = len(split.images) * evaluator.count_views(predictor.tta)
    with CONSOLE.count(views, f"testing {source.name}") as tick:
        probabilities = predictor(split.images, tick)
    classification.validate(probabilities, split.labels)
    test = None if split.held_out else split
    validation = answer_validation(source, predictor, data, test)
    return Evaluation(
        source=source,
        predictor=predictor,
        dataset=data.name,
        split=split,
        calibration=find_calibration(source, predictor, validation),
        probabilities=probabilities,
        validation=validation,
        min_probability=predictor.min_probability,
        data_remarks=getattr(data, "remarks", ()),
    )


def answer_validation(
    source: ModelSource,
    predictor: Predictor,
    data: DataSource,
    test: Split | None,
) -> ValidationAnswers:
    """The answers of a run to its validation rows; nothing is computed yet.

    `test` is the test split, whose images are left out of them; None: it is closed. A
    file has no such rows, and is not asked for them.
    """
    return ValidationAnswers(
        source.run,
        predictor.with_progress("validation rows"),
        lambda: data.load("train"),
        test,
        data.held_out,
    )


def find_calibration(
    source: ModelSource, predictor: Predictor, answers: ValidationAnswers
) -> Calibration:
    """Finds the temperature of a model; that of a run is fitted if it is not yet.

    Raises:
        InvalidInput: calibration.json is damaged, or its data are not available.
    """
    if predictor.tta is not EvalTta.NONE:
        return calibration.uncalibrated(
            "Uncalibrated: temperatures belong to what ships, and that predicts without"
            " test-time augmentation."
        )
    if source.run is None:
        return calibration.from_manifest(source.manifest)
    if not source.final:
        return calibration.uncalibrated(
            "Uncalibrated: this checkpoint is not the run's last."
        )
    return calibration.from_run(answers, source.facts["sha256"])
