"""The output folder of a report or a comparison: file names and checks."""

import pathlib
from collections.abc import Collection, Mapping

from eval.formats import atomic_folders
from trainer import files, storage
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


def write_folder(folder: pathlib.Path, content: Mapping[str, bytes]) -> None:
    """Writes the files of `content`, in this order; replaces an older `folder`.

    Raises:
        TrainingFailed: the storage cannot hold the files.
        PeerLost: the disk is full or gone.
        Interrupted: SIGTERM or SIGHUP was received.
    """
    folder = folder.resolve()
    with atomic_folders.staging_folder(folder.parent, "the report") as hidden:
        made = hidden / folder.name
        for name, data in content.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(path, data)
        atomic_folders.replace(made, folder, seal=name)  # the last file
