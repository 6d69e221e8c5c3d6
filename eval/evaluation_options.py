"""Options of an evaluation: model files, data set, test-time augmentation."""

import dataclasses

from eval.predictors.file_options import DEFAULT_OPTIONS, FileOptions
from trainer.config.enums import EvalTta
from trainer.data.split import DataSource, check_source


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """How models are opened and which images they are evaluated on.

    Attributes:
        file: how model files are read; not used for runs.
        dataset: a TFDS data set; None: the model's own, otherwise cifar10.
        data_dir: the folder of that data set; None: where the model found its own.
        eval_tta: views of an image that predictions are averaged over.
        data: the data set itself, for which the other two are not asked; None: theirs.
    """

    file: FileOptions = DEFAULT_OPTIONS
    dataset: str | None = None
    data_dir: str | None = None
    eval_tta: EvalTta = EvalTta.NONE
    data: DataSource | None = None

    def __post_init__(self) -> None:
        check_source(self.data)
