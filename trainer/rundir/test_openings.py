"""Record of who evaluated the test split in a study, in its test_openings.json.

A study chooses one of many runs by validation rows. Its test accuracy means something
only if the split was opened once, after the choice; so each opening is recorded, and a
second one says that it is one.
"""

import datetime
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from trainer import files, storage
from trainer.errors import InvalidInput

STUDY, FILE, LOCK = "study.json", "test_openings.json", ".test_openings.lock"
VERSION = 1
OPENER = "STUDY_OPENED_BY"  # variable with the name of the command that asks for it
_LEVELS = 6  # folders between a study and a file of one of its runs, at most


def find_study(path: pathlib.Path) -> pathlib.Path | None:
    """Finds the study that a run, or a file in a run, lies in; None: in none."""
    for folder in path.absolute().parents[:_LEVELS]:
        try:
            found = files.read_json(folder / STUDY)
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and "space" in found:
            return folder
    return None


def load(study: pathlib.Path) -> list[dict[str, Any]]:
    """Loads the openings so far, the oldest first.

    Raises:
        InvalidInput: the record is damaged.
    """
    path = study / FILE
    if not os.path.lexists(path):
        return []
    try:
        found = files.read_json(path)["openings"]
        if not all(isinstance(entry, dict) for entry in found):
            raise ValueError("an opening is not an object")
        return list(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path} cannot be read ({error}), so what saw the test split is not known;"
            "\nrestore it: without it no test of this study can be trusted"
        ) from error


def record(
    path: pathlib.Path, weights_sha256: str, *, once: bool = False
) -> str | None:
    """Records that the test split is about to be evaluated; call it before.

    Safe with several processes.

    Args:
        path: the run, or a file in it.
        weights_sha256: of the weights that are evaluated, or of a file.
        once: an opening of the same run for the same weights by the same command, as
            of a training that was killed while it tested, is not recorded again.

    Returns:
        A line for the user; None if `path` lies in no study.

    Raises:
        InvalidInput: it cannot be recorded, and so must not happen.
    """
    study = find_study(path)
    if study is None:
        return None
    try:
        descriptor = files.open_regular(study / LOCK, os.O_RDWR | os.O_CREAT)
        with open(descriptor, "rb") as lock:
            files.lock(lock, wait=True)
            return _append(study, path, weights_sha256, once=once)
    except OSError as error:
        raise InvalidInput(
            f"{study / FILE} cannot be written: {storage.reason(error)};\nan opening "
            "of the test split that is not recorded is refused: make the study writable"
        ) from error


def _append(
    study: pathlib.Path, path: pathlib.Path, weights_sha256: str, *, once: bool
) -> str:
    openings = load(study)
    entry = {
        "time": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
        "by": os.environ.get(OPENER) or _command(),
        "run": os.path.relpath(path.absolute(), study.absolute()),
        "configuration": None,
        "weights_sha256": weights_sha256,
        "number": len(openings) + 1,
    }
    again = ("by", "run", "weights_sha256")
    same = [one for one in openings if all(one.get(k) == entry[k] for k in again)]
    if not (once and same):
        files.write_json(
            study / FILE, {"version": VERSION, "openings": [*openings, entry]}
        )
    return describe(study, openings, weights_sha256)


def describe(
    study: pathlib.Path, earlier: Sequence[Mapping[str, Any]], weights_sha256: str
) -> str:
    """Describes an opening after those that were `earlier`, as a line for the user."""
    if not earlier:
        return f"the test split of the study {study.name} is opened for the first time"
    first, number = earlier[0], len(earlier) + 1
    known = f"first on {first.get('time')} by {first.get('by')} for {first.get('run')}"
    line = f"this is opening {number} of the test split of {study.name} ({known})"
    if any(one.get("weights_sha256") != weights_sha256 for one in earlier):
        return f"{line}, and other weights were tested: choose none by these numbers"
    return f"{line}, always of these weights"


def _command() -> str:
    """The module or script that this process runs."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = spec.name if spec else pathlib.Path(sys.argv[0]).name
    return name or "a script"
