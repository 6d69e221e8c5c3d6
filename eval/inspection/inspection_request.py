"""InspectionRequest: the data set to inspect, a run trained on it, where to write."""

import dataclasses
import pathlib

from eval.reports import output_folder
from eval.splits.evaluation_options import DataChoice
from trainer.errors import InvalidInput
from trainer.rundir.layout import Run

PAGE, DATA = "data.html", "data.json"
NAMES = (PAGE, DATA)
FOLDER = "inspection"  # the default folder


@dataclasses.dataclass(frozen=True)
class InspectionRequest:
    """A data set to inspect.

    Attributes:
        images: which ones; nothing named: those that the run was trained on.
        run: a finished run trained on them, which tells likely label errors; or None.
        given_dir: the folder to write; None: FOLDER, or that name inside the run.

    Raises:
        InvalidInput: neither images nor a run are named.
    """

    images: DataChoice = DataChoice()
    run: Run | None = None
    given_dir: pathlib.Path | None = None

    def __post_init__(self) -> None:
        if self.run is None and not any(
            (self.images.dataset, self.images.image_dir, self.images.image_list)
        ):
            raise InvalidInput(
                "nothing to inspect was named: give `image_dir`, `image_list`,"
                " `dataset` or `run_dir`"
            )

    @property
    def out_dir(self) -> pathlib.Path:
        """The folder to write."""
        if self.given_dir is not None:
            return self.given_dir
        return self.run.path / FOLDER if self.run else pathlib.Path(FOLDER)

    def check_folder(self) -> None:
        """Checks that the folder can be written.

        Raises:
            InvalidInput: it cannot be, or holds other files.
        """
        output_folder.check_replaceable(self.out_dir, NAMES)
