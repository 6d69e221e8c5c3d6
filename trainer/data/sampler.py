"""Sampler: which dataset rows form the batch of a step, a pure function of the step."""

import functools
from collections.abc import Sequence

import numpy as np

# Philox keys are (what for, number): the split is the same for every seed.
_SPLIT_KEY = 0x5EED


def validation_split(
    labels: np.ndarray, fraction: float, held_out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Splits the rows into those to train on and those held out for validation.

    Of every class `fraction` of its rows, rounded, is held out. The choice depends on
    the labels and the fraction only. Where `held_out` rows are given, these are.

    Returns:
        Two int32 arrays, ascending and disjoint, which together have all rows.
    """
    if held_out is not None:
        rows = np.arange(len(labels), dtype=np.int32)
        held = held_out.astype(np.int32)
        return np.setdiff1d(rows, held), held
    generator = np.random.Generator(np.random.Philox(key=[_SPLIT_KEY, 0]))
    held = [np.zeros(0, np.int64)]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = round(fraction * len(members))
        held.append(generator.permutation(members)[:count])
    out = np.zeros(len(labels), bool)
    out[np.concatenate(held)] = True
    return np.flatnonzero(~out).astype(np.int32), np.flatnonzero(out).astype(np.int32)


def spread_rows(total: int, count: int) -> np.ndarray:
    """Chooses `count` of `total` rows, at most all, evenly spread: int64, ascending.

    So every class occurs if the rows are sorted by class.

    >>> spread_rows(10, 4).tolist()
    [0, 3, 6, 9]
    """
    return np.linspace(0, total - 1, min(count, total)).round().astype(int)


def test_rows(
    hashes: Sequence[bytes], labels: np.ndarray, fraction: float
) -> np.ndarray:
    """Whether each row is set apart as a test image: bool [N].

    Of every class `fraction` of its rows is, rounded, by the order of their hashes: the
    choice depends on their contents alone. Rows of one hash stay on one side.

    Args:
        hashes: SHA-256 of each row's picture.
        labels: int [N].
        fraction: of each class.
    """
    unique, first, group = np.unique(
        np.array(hashes), return_index=True, return_inverse=True
    )
    sizes = np.bincount(group)
    apart = np.zeros(len(unique), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[first] == label)  # in the order of their hashes
        before = np.cumsum(sizes[members]) - sizes[members]
        wanted = round(fraction * sizes[members].sum())
        apart[members[before < wanted]] = True
    return apart[group]


class Sampler:
    """The endless stream of training rows, cut into global batches.

    Epochs follow each other without a gap: a batch may hold the end of one and the
    start of the next, so that every batch is full and no row is dropped.
    """

    def __init__(self, rows: np.ndarray, *, global_batch: int, seed: int) -> None:
        self._rows = rows.astype(np.int32)
        self._batch = global_batch
        self._epoch = functools.lru_cache(maxsize=2)(
            functools.partial(_permutation, self._rows.tobytes(), seed)
        )

    def rows(self, step: int) -> np.ndarray:
        """Dataset rows of the global batch of 0-based `step`: int32 [B]."""
        first, size = step * self._batch, len(self._rows)
        batch, parts = self._batch, []
        while batch > 0:
            epoch, start = divmod(first, size)
            part = self._epoch(epoch)[start : start + batch]
            parts.append(part)
            first, batch = first + len(part), batch - len(part)
        return np.concatenate(parts)

    def block(self, step: int, count: int) -> np.ndarray:
        """Rows of `count` steps from `step` on: int32 [count, B]."""
        return np.stack([self.rows(step + i) for i in range(count)])


def _permutation(rows: bytes, seed: int, epoch: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(np.frombuffer(rows, np.int32))
