"""Exact and near duplicates among the images of a data set.

Near duplicates are pictures that look alike from afar: re-encoded, resized, slightly
retouched. Of two signatures (image_facts) the means of each plane and what remains are
compared. JPEG errors grow with the contrast of a picture, and so does the limit.

Measured on CIFAR-10, noise of 32 and 200 pixels, gradients and plain colours: copies as
JPEG of quality 50 or more, as WebP and at half the size are within it; the nearest
other picture is 2 to 20 times as far.
"""

import collections
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

from eval.inspection.image_facts import PLANES, SIGNATURE_SIZE

LIMIT_SHARE = 0.4  # of the contrast: the distance of near duplicates without means
LEAST_LIMIT, MOST_LIMIT = 0.5, 8.0  # of that distance, in grey levels
MEAN_LIMIT = 3.0  # of the distance of their means
_BLOCK = 512  # signatures compared at once


def group_equal(keys: Sequence[Hashable | None]) -> list[list[int]]:
    """Groups the rows that have an equal key; None is equal to nothing."""
    rows = collections.defaultdict(list)
    for row, key in enumerate(keys):
        if key is not None:
            rows[key].append(row)
    return [group for group in rows.values() if len(group) > 1]


def group_near(
    signatures: np.ndarray, tick: Callable[[int], object] = lambda _: None
) -> list[list[int]]:
    """Groups rows of `signatures`, float32 [N, SIGNATURE_SIZE], that look alike.

    Groups are connected: each row looks like another of its group. `tick` is called
    with the number of rows just compared with all others.
    """
    parents = np.arange(len(signatures))
    for one, other in find_near_pairs(signatures, tick):
        _unite(parents, one, other)
    return group_equal([_find_root(parents, row) for row in range(len(signatures))])


def find_near_pairs(
    signatures: np.ndarray, tick: Callable[[int], object] = lambda _: None
) -> Iterator[tuple[int, int]]:
    """Yields every pair of rows that look alike; none is missed.

    Rows are sorted by their component along the direction in which they vary most. Two
    differ there by at most as much as in all, so that few need be compared.
    """
    if len(signatures) < 2:
        return
    centred = signatures - signatures.mean(axis=0)
    along = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(along, kind="stable")
    centred, along = centred[order], along[order]
    limits = _limits(centred + signatures.mean(axis=0))
    squares = (centred**2).sum(axis=1)
    most = (MOST_LIMIT**2 + MEAN_LIMIT**2) * SIGNATURE_SIZE
    for first in range(0, len(order), _BLOCK):
        last = min(first + _BLOCK, len(order))
        end = np.searchsorted(along, along[last - 1] + most**0.5, side="right")
        products = centred[first:last] @ centred[first:end].T
        distances = squares[first:last, None] + squares[None, first:end] - 2 * products
        # float32 may be off by a little; candidates are compared one by one
        near = np.triu(distances <= most * 1.01, k=1)
        for one, other in np.argwhere(near) + first:
            limit = min(limits[one], limits[other])
            if _look_alike(centred[one], centred[other], limit):
                yield int(order[one]), int(order[other])
        tick(last - first)


def _look_alike(one: np.ndarray, other: np.ndarray, limit: float) -> bool:
    planes = np.split(one - other, PLANES)
    means = np.concatenate([np.full(len(part), part.mean()) for part in planes])
    rest = np.concatenate(planes) - means
    near = np.mean(means**2) <= MEAN_LIMIT**2
    return bool(near and np.mean(rest**2) <= limit**2)


def _limits(signatures: np.ndarray) -> np.ndarray:
    """The limit of each row by its contrast, without the means of its planes."""
    planes = np.split(signatures, PLANES, axis=1)
    squares = sum(((p - p.mean(1, keepdims=True)) ** 2).sum(1) for p in planes)
    contrast = np.sqrt(squares / SIGNATURE_SIZE)
    return np.clip(LIMIT_SHARE * contrast, LEAST_LIMIT, MOST_LIMIT)


def _find_root(parents: np.ndarray, row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return int(row)


def _unite(parents: np.ndarray, one: int, other: int) -> None:
    roots = _find_root(parents, one), _find_root(parents, other)
    parents[max(roots)] = min(roots)
