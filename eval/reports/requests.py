"""Requests for a report or a comparison: models, images and output folder."""

import dataclasses
import pathlib

from eval.predictors.file_options import DEFAULT_OPTIONS
from eval.reports import output_folder
from eval.splits.evaluation_options import EvaluationOptions
from trainer.config.enums import EvalTta
from trainer.errors import InvalidInput
from trainer.rundir.layout import Run

LARGEST_STEP = 10**12
COMPARISON = "comparison"  # the default folder of a comparison


@dataclasses.dataclass(frozen=True)
class ReportRequest:
    """One model, the images it is evaluated on, and the folder of its report.

    Attributes:
        run, model: a run, or else a model file; the other is None.
        checkpoint: step of the run's checkpoint; None: the last of a finished run.
        given_dir: the folder to write; it may contain an older report of the same
            model. None: the default folder, where a report of another model is
            replaced.
        corruptions: whether corrupted images are evaluated, too.
        corruption_sample: how many images are corrupted; None: all.
        no_class_data: a TFDS data set or folder of images that show none of the
            classes; None: the default sets alone.

    Raises:
        InvalidInput: a value is out of range or not for this kind of model.
    """

    run: Run | None = None
    model: pathlib.Path | None = None
    checkpoint: int | None = None
    options: EvaluationOptions = EvaluationOptions()
    given_dir: pathlib.Path | None = None
    corruptions: bool = False
    corruption_sample: int | None = None
    no_class_data: str | None = None

    def __post_init__(self) -> None:
        step, sample = self.checkpoint, self.corruption_sample
        if self.run is None and step is not None:
            raise InvalidInput(
                f"checkpoint={step} belongs to a run, but {self.model} is a model file"
            )
        if self.run is not None and self.options.file != DEFAULT_OPTIONS:
            raise InvalidInput(
                "`output`, `input_range`, `input_scaling` and `kernels` are for model"
                " files only"
            )
        if step is not None and not 0 <= step < LARGEST_STEP:
            raise InvalidInput(f"checkpoint={step} must be a step, 0 or more")
        if sample is not None and sample < 1:
            raise InvalidInput(f"corruption_sample={sample} must be at least 1")
        if sample is not None and not self.corruptions:
            raise InvalidInput(f"corruption_sample={sample} needs `corruptions`")
        if self.no_class_data == "":
            raise InvalidInput(
                "`no_class_data` is empty; name a folder of images or a TFDS data set"
            )

    @property
    def out_dir(self) -> pathlib.Path:
        """The folder of the report; test-time augmentation is added to its name."""
        if self.given_dir is not None:
            return self.given_dir
        folder = self.run.path / "report" if self.run else _folder_beside(self.model)
        tta = self.options.eval_tta
        if tta is EvalTta.NONE:
            return folder
        return folder.with_name(f"{folder.name}_{tta.value}")  # what ships has its own

    def check_folder(self) -> None:
        """Checks that the report can be written.

        Raises:
            InvalidInput: it cannot, or would replace files of another kind.
        """
        output_folder.check_replaceable(self.out_dir, output_folder.REPORT_NAMES)


def _folder_beside(model: pathlib.Path) -> pathlib.Path:
    """Returns the default folder of the report of a model file."""
    if model.absolute().name.isdecimal():  # one of several versions that are served
        model = model.absolute()
        model = model.parent.with_name(f"{model.parent.name}_{model.name}")
    return model.with_name(model.name + ".report")


@dataclasses.dataclass(frozen=True)
class ComparisonRequest:
    """Several models, the images they are evaluated on, and the comparison's folder.

    Attributes:
        models: run directories or model files, or else studies and folders of runs; all
            are compared with the first.
        given_dir: the folder to write; it may hold an older comparison of the same.
            None: comparison/, where a comparison of other models gives way.

    Raises:
        InvalidInput: there are fewer than two models.
    """

    models: tuple[str, ...]
    options: EvaluationOptions = EvaluationOptions()
    given_dir: pathlib.Path | None = None

    def __post_init__(self) -> None:
        if len(self.models) < 2:
            raise InvalidInput(
                "two or more runs or model files are needed to compare, got "
                f"{len(self.models)}"
            )

    @property
    def out_dir(self) -> pathlib.Path:
        """The folder of the comparison."""
        return self.given_dir or pathlib.Path(COMPARISON)

    def check_folder(self) -> None:
        """Checks that the comparison can be written.

        Raises:
            InvalidInput: it cannot, or would replace files of another kind.
        """
        output_folder.check_replaceable(self.out_dir, output_folder.COMPARISON_NAMES)
