"""The output folder of a report or a comparison: file names and checks."""

import pathlib
from collections.abc import Collection

from eval.formats import atomic_folders
from trainer import storage
from trainer.storage import as_refusal

REPORT_PAGE, REPORT_DATA = "report.html", "report.json"
PREDICTIONS, FIGURES = "predictions.npz", "figures"
COMPARISON_PAGE, COMPARISON_DATA = "comparison.html", "comparison.json"
REPORT_NAMES = (REPORT_PAGE, REPORT_DATA, PREDICTIONS, FIGURES)
COMPARISON_NAMES = (COMPARISON_PAGE, COMPARISON_DATA)


def check_replaceable(path: pathlib.Path, names: Collection[str] = ()) -> None:
    """Checks that a folder of files called `names` can be written at `path`.

    Raises:
        InvalidInput: it cannot be written, or it would replace other files.
    """
    path = path.resolve()
    try:
        # For root, permissions do not tell whether writing works: try it.
        storage.probe(path.parent, folders=False, appends=False)
    except OSError as error:
        what = f"the report cannot be written to {path} (see `out_dir`)"
        raise as_refusal(what, error, restart=False) from error
    atomic_folders.check_replaceable(path, names, "the report")
