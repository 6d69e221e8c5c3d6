"""The validation rows of a run: what temperature and thresholds are chosen on."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eval.metrics import leakage
from trainer.data import sampler
from trainer.data.split import ImageRows, Split
from trainer.rundir.layout import Run

NO_ROWS = "the run has no validation rows"


@dataclasses.dataclass(frozen=True)
class ValidationAnswers:
    """A run's answers to its validation rows, computed once, when first asked for.

    Attributes:
        run: the run.
        predict: computes probabilities [N, C] of images uint8 [N, H, W, C].
        train: loads the training split; called only if the run has such rows.
        test: the test split, whose images are left out of the rows; None: it is closed.
        held_out: validation rows of the training split; None: by the run's config.
    """

    run: Run
    predict: Callable[[ImageRows], np.ndarray]
    train: Callable[[], Split]
    test: Split | None
    held_out: np.ndarray | None = None

    @functools.cached_property
    def found(self) -> tuple[Split, np.ndarray] | str:
        """Training split and rows, or the reason why there are none, a clause."""
        return find_validation_rows(self.run, self.train, self.test, self.held_out)

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """What the run answers to the rows that were found, [n, C], uncalibrated."""
        split, rows = self.found
        return self.predict(ImageRows(split.images, rows))

    @property
    def labels(self) -> np.ndarray:
        """The labels of the rows that were found, [n]."""
        split, rows = self.found
        return split.labels[rows]

    def describe(self) -> dict[str, Any]:
        """The rows that were found: fields of each file that is computed from them."""
        split, rows = self.found
        return {
            "rows": len(rows),
            "rows_sha256": hash_rows(rows),
            "train_sha256": split.sha256,
            "compared_with_test": self.test is not None,
        }


def is_outdated(described: Mapping[str, Any], test: Split | None) -> bool:
    """Whether rows were described while the test split, which is open now, was closed.

    Images of the test split may then be among them.
    """
    return test is not None and described.get("compared_with_test") is False


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
