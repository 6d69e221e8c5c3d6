"""The validation rows of a run: what temperature and thresholds are chosen on."""

import hashlib
from collections.abc import Callable

import numpy as np

from eval.splits import leakage
from trainer.data import sampler
from trainer.data.split import Split
from trainer.rundir.layout import Run

NO_ROWS = "the run has no validation rows"


def find_validation_rows(
    run: Run,
    train: Callable[[], Split],
    test: Split | None,
    held_out: np.ndarray | None = None,
) -> tuple[Split, np.ndarray] | str:
    """Finds the training split of a run and its rows that validate, int32 [n].

    Rows that are also test images are left out.

    Args:
        train: loads the training split; called only if the run has such rows.
        test: the test split; None: it is not compared.
        held_out: validation rows of the training split; None: by the run's config.

    Returns:
        The split and the rows, or the reason why there are none, a clause.
    """
    fraction = run.config().data.validation_fraction
    if not fraction and held_out is None:
        return NO_ROWS
    split = train()
    if split.sha256 != _trained_on(run):
        return "the run's own training data was not found"
    _, rows = sampler.validation_split(split.labels, fraction, held_out)
    seen = leakage.find_test_images(split, test)
    if leaked := leakage.describe_leak(seen):
        return leaked
    rows = rows[~seen[rows]]
    return (split, rows) if len(rows) else NO_ROWS


def hash_rows(rows: np.ndarray) -> str:
    """SHA-256 of the numbers of rows."""
    return hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest()


def _trained_on(run: Run) -> str | None:
    """Reads the hash of the training split from result.json."""
    found = (run.result() or {}).get("data_sha256")
    return found.get("train") if isinstance(found, dict) else None
