"""Source: the finished run that is exported, with its network, data and temperature."""

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from eval import model_source, progress_bar, runner
from eval.metrics import calibration
from export import artifact
from trainer.data import classes
from trainer.errors import UsageError
from trainer.monitoring import native_output
from trainer.rundir import layout

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

    from eval.metrics.calibration import Calibration
    from eval.model_source import ModelSource
    from export.serving.module import ServingModule
    from export.verification import VerificationSet
    from trainer.data.split import Split

FOLDER = "export"  # in the run directory


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags that every export has; tests pass a fresh FlagValues."""
    what = {"flag_values": values, "module_name": "What to export"}
    flags.DEFINE_string("run_dir", None, "The run; off: runs/latest.", **what)
    flags.DEFINE_string("dataset", None, "TFDS data set; off: the run's own.", **what)
    flags.DEFINE_string("data_dir", None, "Where it is; off: where it was.", **what)
    flags.DEFINE_bool(
        "calibrate", True, "Divides logits by the run's temperature.", **what
    )
    proof = {"flag_values": values, "module_name": "Verification"}
    flags.DEFINE_integer(
        "verify_sample", None, "Test images to verify on; off: all.", **proof
    )
    flags.DEFINE_float(
        "max_accuracy_drop",
        0.01,
        "Limit for dynamic, int8 and int16x8 (float32 and SavedModel may change no "
        "answer, float16 0.2 % of them).",
        **proof,
    )
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **proof)
    return values


def check(values: flags.FlagValues) -> None:
    """Raises UsageError for a value out of range."""
    if values.verify_sample is not None and values.verify_sample < 1:
        raise UsageError(f"--verify_sample={values.verify_sample} must be at least 1")
    drop = values.max_accuracy_drop
    if drop is not None and not 0 <= drop <= 1:
        raise UsageError(f"--max_accuracy_drop={drop} must be within 0 to 1")


@dataclasses.dataclass(frozen=True)
class ExportInputs:
    """Everything an export is made from.

    Attributes:
        subject: the run's last checkpoint.
        network: its weights as functions from pixels to probabilities.
        builder: of its data set.
        exam: what exported files are asked.
        calibration: the run's temperature, or why there is none.
        test: the whole test split.
    """

    run: layout.Run
    subject: "ModelSource"
    network: "ServingModule"
    builder: "tfds.core.DatasetBuilder"
    exam: "VerificationSet"
    calibration: "Calibration"
    test: "Split"  # with the run's own names and numbers of classes

    @property
    def folder(self):
        """Where exports of the run go."""
        return self.run.path / FOLDER

    @property
    def data(self) -> str:
        """Name and version of the data set that the run learnt from."""
        noted = self.run.recorded().get("data", {}).get("name")
        return noted or self.builder.info.full_name

    def train(self) -> "Split":
        """The training split, with the run's own names and numbers of classes.

        Raises:
            UsageError: it is not the one that the run learnt from.
        """
        split = _split(self.builder, "train", self.subject)
        own = self.subject.trained_on.get("train")
        if own not in (None, split.sha256) and own != split.digest():
            raise UsageError(
                f"the training images in {self.builder.data_dir} are not the run's own"
                f" (SHA-256 {split.sha256[:12]}, not {own[:12]}), and calibration"
                " images come from them;\nname the run's own data with --data_dir"
            )
        return split

    def facts(self) -> dict[str, Any]:
        """What every manifest of this run says."""
        height, width, channels = self.network.image_shape
        return {
            "run": self.run.path.name,
            "step": self.subject.facts["step"],
            "config": self.run.config().to_json(),
            "weights_sha256": self.subject.facts["sha256"],
            "data": self.data,
            "data_sha256": self.subject.trained_on,
            "test_data": self.builder.info.full_name,
            "test_split": self.test.split,
            "test_sha256": self.test.sha256,
            "labels": list(self.test.names),
            "image_shape": [height, width, channels],
            "temperature": self.calibration.temperature or "uncalibrated",
            "temperature_source": self.calibration.why,
        }


def open_inputs(values: flags.FlagValues, *, folders: bool = False) -> ExportInputs:
    """The Source that parsed flags ask for; `folders`: what is made from it is one.

    Raises:
        UsageError: no such run, not finished, damaged, or its data cannot be had.
    """
    check(values)
    run = layout.open_run(values.run_dir)
    artifact.check(run.path / FOLDER, folders=folders)
    with native_output.suppress_native_stderr():
        from eval import runner
        from export.serving.module import ServingModule
        from trainer.data import classes

        _stay_on_cpu()
        subject = model_source.from_run(run)
    builder = runner.prepare_data(subject, values.dataset, values.data_dir)
    plain = runner.load_split(builder, "test")
    test = classes.relabel(plain, subject.classes, subject.name)
    with native_output.suppress_native_stderr("reading the checkpoint"):
        predictor = runner.open_predictor(subject, test)
    runner.warn(runner.remarks(subject, predictor, plain, builder.info.full_name))
    calibration = _calibration(subject, predictor, builder, test, values.calibrate)
    temperature = calibration.temperature or 1.0
    return ExportInputs(
        run=run,
        subject=subject,
        # A run's model is a CheckpointModel: what is exported is what was asked.
        network=ServingModule(predictor.model.network, temperature),
        builder=builder,
        exam=_exam(test, predictor, temperature, values.verify_sample),
        calibration=calibration,
        test=test,
    )


def _split(builder, which: str, subject: "ModelSource") -> "Split":
    """Split `which`, its classes named and numbered as `subject` has them."""

    split = runner.load_split(builder, which)
    return classes.relabel(split, subject.classes, subject.name)


def _stay_on_cpu() -> None:
    """Files run on CPUs; a GPU's TensorFloat-32 would make the checkpoint differ."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # devices are made: nothing to change
            tf.config.set_visible_devices([], "GPU")


def _calibration(subject, predictor, builder, test, wanted: bool) -> "Calibration":
    from eval.metrics import calibration

    if not wanted:
        return calibration.uncalibrated("Exported with --nocalibrate.")
    return calibration.from_run(
        subject.run,
        subject.facts["sha256"],
        predictor.counted("calibration"),
        lambda: _split(builder, "train", subject),
        test,
    )


def _exam(
    test: "Split", predictor, temperature: float, sample: int | None
) -> "VerificationSet":
    from export.verification import VerificationSet

    count = len(test.labels)
    kept = min(sample or count, count)
    # Evenly spread, so that data sets sorted by class give every class.
    rows = np.linspace(0, count - 1, kept).round().astype(int)
    images = test.images[rows]
    with progress_bar.progress_bar(kept, "checkpoint") as tick:
        answers = predictor(images, tick)
    reference = calibration.apply_temperature(answers, temperature)
    labels, sampled = test.labels[rows], kept < count
    return VerificationSet(
        images, labels, test.names, reference, sampled, test.split, count
    )
