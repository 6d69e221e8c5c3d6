"""Opens a finished run for export: network, data and temperature."""

import contextlib
import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from eval import model_source, runner
from eval.metrics import calibration
from eval.metrics.calibration import Calibration
from eval.metrics.validation_rows import ValidationAnswers, hash_rows
from eval.model_source import ModelSource
from eval.predictors.predictor import Predictor
from eval.reports import report_data
from export.artifact.export_options import ExportRequest, VerificationOptions
from export.artifact.serving_module import ServingModule
from export.artifact.verification import VerificationSet
from trainer.data import classes, sampler
from trainer.data.preprocessing import PixelSpec
from trainer.data.split import DataSource, ImageRows, Split
from trainer.errors import InvalidInput, first_line
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE
from trainer.rundir.layout import Run


@dataclasses.dataclass(frozen=True)
class ValidationImages:
    """Validation images of the run, on which each file's thresholds are chosen.

    Attributes:
        images: uint8 [n, H, W, C], never all in memory.
        labels: int32 [n].
        rows_sha256: of their rows in the training split.
    """

    images: ImageRows
    labels: np.ndarray
    rows_sha256: str


@dataclasses.dataclass(frozen=True)
class ExportInputs:
    """Everything that an export is made from.

    Attributes:
        folder: where exports are written.
        source: the last checkpoint of the run.
        network: its weights with functions from pixels to probabilities.
        data_source: the data set that `evaluated` is from.
        answers: the checkpoint's answers to the run's validation rows; its training
            split has classes as in the run.
        verification: how exported files are verified.
        verification_set: the images that they are verified on.
        calibration: the run's temperature, or the reason why there is none.
        evaluated: all images that judge: the test split, or the validation rows of a
            run that was trained without a test; classes as in the run.
    """

    run: Run
    folder: pathlib.Path
    source: ModelSource
    network: ServingModule
    data_source: DataSource
    answers: ValidationAnswers
    verification: VerificationOptions
    verification_set: VerificationSet
    calibration: Calibration
    evaluated: Split

    @property
    def evaluated_on(self) -> str:
        """What those are, and the field of a manifest with what a file scored."""
        return report_data.kind_of(self.evaluated)

    @property
    def data(self) -> str:
        """Name and version of the data set that the run was trained on."""
        recorded = self.run.recorded().get("data", {}).get("name")
        return recorded or self.data_source.name

    @property
    def preprocessing(self) -> PixelSpec:
        """How image files become the pixels that the network takes."""
        files = self.source.image_files
        spec = files.spec if files else None
        return spec or PixelSpec(*self.network.image_shape)

    @property
    def test(self) -> Split | None:
        """The test split; None where it stays closed."""
        return self.answers.test

    def describe(self, numbers: str = "") -> str:
        """One sentence for a file's own metadata; `numbers`: such as ", int8"."""
        return (
            f"{self.run.config().model.name} trained on {self.data}{numbers}; weights"
            f" {self.source.facts['sha256'][:12]}; image files become"
            f" {self.preprocessing} (upright, bilinear, antialiased)"
        )

    def load_train(self) -> Split:
        """Loads the training split for calibration images.

        Raises:
            InvalidInput: it is not the one that the run was trained on.
        """
        data, split = self.data_source, self.answers.train()
        expected = self.source.trained_on.get("train")
        if expected not in (None, split.sha256) and expected != split.digest():
            where = f"in {data.folder}" if data.folder else f"of {data.name}"
            option = "`data_dir`" if data.folder else "`data`"
            raise InvalidInput(
                f"the training images {where} are not the run's own"
                f" (SHA-256 {split.sha256[:12]}, not {expected[:12]}), and calibration"
                f" images come from them;\nname the run's own data with {option}"
            )
        return split

    @functools.cached_property
    def validation(self) -> ValidationImages | str:
        """Validation images of the run, or the reason why there are none, a clause.

        With `verify_sample` there are no more of them than of test images.
        """
        try:
            found = self.answers.found
        except InvalidInput as error:  # of the other data that verify the file
            return f"the training images cannot be used: {first_line(error)}"
        if isinstance(found, str):
            return found
        split, rows = found
        count = self.verification.sample or len(rows)
        rows = rows[sampler.spread_rows(len(rows), count)]
        images = ImageRows(split.images, rows)
        return ValidationImages(images, split.labels[rows], hash_rows(rows))

    def facts(self) -> dict[str, Any]:
        """Collects the fields of a manifest that all exports of the run share."""
        height, width, channels = self.network.image_shape
        judged, which = self.evaluated, self.evaluated_on
        return {
            "run": self.run.path.name,
            "step": self.source.facts["step"],
            "config": self.run.config().to_json(),
            "weights_sha256": self.source.facts["sha256"],
            "data": self.data,
            "data_sha256": self.source.trained_on,
            "run_tested": self.source.tested,
            f"{which}_data": self.data_source.name,
            f"{which}_split": judged.split,
            f"{which}_sha256": judged.sha256,
            "labels": list(judged.names),
            "image_shape": [height, width, channels],
            "preprocessing": self.preprocessing.to_json(),
            "temperature": self.calibration.temperature or "uncalibrated",
            "temperature_source": self.calibration.why,
        }


def open_inputs(request: ExportRequest) -> ExportInputs:
    """Loads the run, its data and its temperature.

    Raises:
        InvalidInput: the run is not finished or damaged, or its data are not available.
    """
    with native_output.suppress_native_stderr():
        _stay_on_cpu()
        source = model_source.from_run(request.run)
    data, split = runner.open_evaluation([source], request.images, request.data)
    judged = classes.relabel(split, source.classes, source.name)
    with native_output.suppress_native_stderr("reading the checkpoint"):
        predictor = runner.open_predictor(source, judged)
    for line in runner.remarks(source, predictor, split, data.name):
        runner.print_line(line)
    answers = _answer_validation(source, predictor, data, judged)
    fitted = calibration.uncalibrated("Exported with --nocalibrate.")
    if request.calibrate:
        fitted = calibration.from_run(answers, source.facts["sha256"])
    temperature = fitted.temperature or 1.0
    sample = request.verification.sample
    return ExportInputs(
        run=request.run,
        folder=request.folder,
        source=source,
        # The model of a run is a CheckpointModel: its network is what was evaluated.
        network=ServingModule(predictor.model.network, temperature),
        data_source=data,
        answers=answers,
        verification=request.verification,
        verification_set=dataclasses.replace(
            _verification_set(judged, predictor, temperature, sample),
            rounded=request.run.config().model.qat,
        ),
        calibration=fitted,
        evaluated=judged,
    )


def _answer_validation(
    source: ModelSource, predictor: Predictor, data: DataSource, judged: Split
) -> ValidationAnswers:
    """As `runner.answer_validation`, with classes named and numbered as in the run.

    The training split is read once, for temperature, thresholds and calibration images.
    """

    @functools.cache
    def load_train() -> Split:
        return classes.relabel(data.load("train"), source.classes, source.name)

    test = None if judged.held_out else judged
    answers = runner.answer_validation(source, predictor, data, test)
    return dataclasses.replace(answers, train=load_train)


def _stay_on_cpu() -> None:
    """Hides GPUs: with TensorFloat-32 the checkpoint would differ from the files."""
    if tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # the devices exist already
            tf.config.set_visible_devices([], "GPU")


def _verification_set(
    judged: Split, predictor: Predictor, temperature: float, sample: int | None
) -> VerificationSet:
    """Predicts `sample` of the images, None: all, with the checkpoint."""
    total = len(judged.labels)
    count = min(sample or total, total)
    rows = sampler.spread_rows(total, count)
    images = judged.images if count == total else judged.images[rows]
    with CONSOLE.count(count, "testing the checkpoint") as tick:
        probabilities = predictor(images, tick)
    return VerificationSet(
        images=images,
        labels=judged.labels[rows],
        names=judged.names,
        reference=calibration.apply_temperature(probabilities, temperature),
        sampled=count < total,
        split=judged.split,
        split_images=total,
    )
