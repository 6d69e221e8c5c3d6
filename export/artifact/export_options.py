"""Options shared by all exports."""

import dataclasses
import pathlib

from eval.predictors.engine import Kernels
from eval.splits.evaluation_options import DataChoice
from trainer.data.split import DataSource, check_source
from trainer.errors import InvalidConfig
from trainer.rundir.layout import Run

FOLDER = "export"  # in the run directory


@dataclasses.dataclass(frozen=True)
class VerificationOptions:
    """How exported files are run on the test split, and their limits.

    Attributes:
        max_accuracy_drop: limit for dynamic, int8 and int16x8.
        sample: number of test images; None: all.
        kernels: LiteRT's kernels that a `.tflite` is run with.

    Raises:
        InvalidConfig: a value is out of range.
    """

    max_accuracy_drop: float = 0.01
    sample: int | None = None
    kernels: Kernels = Kernels.XNNPACK

    def __post_init__(self) -> None:
        drop = self.max_accuracy_drop
        if not 0 <= drop <= 1:
            raise InvalidConfig(f"max_accuracy_drop={drop} must be within 0 to 1")
        if self.sample is not None and self.sample < 1:
            raise InvalidConfig(f"verify_sample={self.sample} must be at least 1")


@dataclasses.dataclass(frozen=True)
class ExportRequest:
    """Which run is exported, and how its files are verified.

    Attributes:
        run: a finished run.
        images: the images that verify, by name.
        data: the data set itself, for which `images` is not asked; None: its own.
        calibrate: whether logits are divided by the run's temperature.
    """

    run: Run
    images: DataChoice = DataChoice()
    data: DataSource | None = None
    calibrate: bool = True
    verification: VerificationOptions = dataclasses.field(
        default_factory=VerificationOptions
    )

    def __post_init__(self) -> None:
        check_source(self.data)

    @property
    def folder(self) -> pathlib.Path:
        """The folder that exports of the run are written to."""
        return self.run.path / FOLDER
