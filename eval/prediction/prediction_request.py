"""PredictionRequest: a model, the files that it answers, the form of the answers."""

import dataclasses
import enum
import os
import pathlib

from eval.predictors.file_options import DEFAULT_OPTIONS, FileOptions
from trainer.config.enums import Resize
from trainer.errors import InvalidInput
from trainer.rundir.layout import Run


class RecordFormat(enum.Enum):
    """The format of the predictions on stdout."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"


@dataclasses.dataclass(frozen=True)
class PredictionRequest:
    """One model, the files that it answers, and the form of the answers.

    Attributes:
        run, model: a run, or else a model file; the other is None.
        checkpoint: step of the run's checkpoint; None: the last of a finished run.
        options: how model files are read.
        resize: what happens to images of another shape; None: as the model records.
        image_size: height and width for a model file that takes any; None: its own.
        paths: files and folders; "-" is the list on stdin.
        kind: the format on stdout.
        top_k: how many classes of each file are written.
        grid: a PNG to write with some of the files; None: none.
        abstain: the selective accuracy for which answers are refused; None: none is.

    Raises:
        InvalidInput: two values contradict each other, or `grid` cannot be written.
    """

    run: Run | None
    model: pathlib.Path | None
    paths: tuple[str, ...]
    checkpoint: int | None = None
    options: FileOptions = DEFAULT_OPTIONS
    resize: Resize | None = None
    image_size: tuple[int, int] | None = None
    kind: RecordFormat = RecordFormat.TABLE
    top_k: int = 3
    grid: pathlib.Path | None = None
    abstain: float | None = None

    def __post_init__(self) -> None:
        if self.run is not None and self.options != DEFAULT_OPTIONS:
            raise InvalidInput(
                "`output`, `input_range`, `input_scaling` and `kernels` are for model"
                " files only"
            )
        if not self.paths:
            raise InvalidInput(
                "no path was named; name image files or folders, or - for a list of"
                " paths on stdin"
            )
        if self.grid is not None:
            _check_grid(self.grid)
        if self.abstain is not None and not 0 < self.abstain < 1:
            raise InvalidInput(
                f"abstain={self.abstain:g} must be between 0 and 1: the share of the"
                " given answers that is to be right, e.g. 0.95"
            )


def _check_grid(path: pathlib.Path) -> None:
    if path.suffix.lower() != ".png":
        raise InvalidInput(f"grid={path} must be a .png file")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else "lies in a folder that is not there"
        raise InvalidInput(f"grid={path} {what}; name a file to write")
    if not os.access(path.parent, os.W_OK):
        raise InvalidInput(f"grid={path} cannot be written: no permission to write")
