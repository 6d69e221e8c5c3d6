"""Options of an evaluation: model files, data set, test-time augmentation."""

import dataclasses
import enum

from eval.predictors.file_options import DEFAULT_OPTIONS, FileOptions
from trainer.config.enums import EvalTta
from trainer.data.split import DataSource, check_source
from trainer.errors import InvalidInput


class EvaluationSplit(enum.Enum):
    """The images of a data set that judge a model."""

    VALIDATION = "validation"  # rows that its training held out
    TEST = "test"


@dataclasses.dataclass(frozen=True)
class DataChoice:
    """Which images a model is judged on; nothing named: those it was trained on.

    Attributes:
        dataset: a TFDS data set.
        data_dir: the folder of data sets and stores; None: where the model found them.
        image_dir, image_list: image files, see `trainer.data.from_files`.
        skip_unreadable: leaves out image files that cannot be read, also where the
            model's training did not.
        split: None: the test split, but the validation rows of a run that was trained
            without a test.
    """

    dataset: str | None = None
    data_dir: str | None = None
    image_dir: str | None = None
    image_list: str | None = None
    skip_unreadable: bool = False
    split: EvaluationSplit | None = None

    def __post_init__(self) -> None:
        named = {"dataset": self.dataset, "image_dir": self.image_dir}
        named["image_list"] = self.image_list
        given = [f"{name}={value}" for name, value in named.items() if value]
        if len(given) > 1:
            raise InvalidInput(f"{' and '.join(given)} both name images; give one")


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """How models are opened and which images they are evaluated on.

    Attributes:
        file: how model files are read; not used for runs.
        images: the images, by name.
        eval_tta: views of an image that predictions are averaged over.
        data: the data set itself, for which `images` is not asked; None: its own.
    """

    file: FileOptions = DEFAULT_OPTIONS
    images: DataChoice = DataChoice()
    eval_tta: EvalTta = EvalTta.NONE
    data: DataSource | None = None

    def __post_init__(self) -> None:
        check_source(self.data)
