"""Exact and near duplicates among the images of a data set.

Near duplicates are pictures that look alike from afar: re-encoded, resized, slightly
retouched. Of two signatures (image_facts) the means of each plane and what remains are
compared. JPEG errors grow with the contrast of a picture, and so does the limit.

Measured: of 520 pairs of CIFAR-10 whose pictures differ by less than half of their
contrast, those below LIMIT_SHARE are the same picture or the same thing moved a little,
those above 0.3 often are not. Copies of CIFAR-10, noise, gradients and plain colours as
JPEG of quality 50 or more and as WebP are below it.
"""

import collections
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from eval.inspection.image_facts import PLANES, SIGNATURE_SIZE

LIMIT_SHARE = 0.25  # of the contrast: the distance of near duplicates without means
LEAST_LIMIT, MOST_LIMIT = 0.5, 16.0  # of that distance, in grey levels
MEAN_LIMIT = (
    3.0  # of the distance of their means; half of the other one if that is more
)
_BLOCK = (512, 4096)  # rows that are compared with rows at once


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
    labels = np.arange(len(signatures))
    for pairs in find_near_pairs(signatures, tick):
        ones = np.ones(len(pairs), bool)
        edges = (ones, tuple(labels[pairs].T))
        graph = sparse.coo_array(edges, shape=(len(labels), len(labels)))
        labels = csgraph.connected_components(graph, directed=False)[1][labels]
    return group_equal(labels.tolist())


def find_near_pairs(
    signatures: np.ndarray, tick: Callable[[int], object] = lambda _: None
) -> Iterator[np.ndarray]:
    """Yields pairs of rows that look alike, int64 [P, 2]; none is missed.

    Rows are sorted by their component along the direction in which they vary most. Two
    differ there by at most as much as in all, so that few need be compared.
    """
    if len(signatures) < 2:
        return
    centred = signatures - signatures.mean(axis=0)
    along = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(along, kind="stable")
    along, means, rest = along[order], *_split_means(signatures[order])
    contrast = np.sqrt((rest**2).mean(axis=1))
    limits = np.clip(LIMIT_SHARE * contrast, LEAST_LIMIT, MOST_LIMIT)
    most = (1.25 * MOST_LIMIT**2 * SIGNATURE_SIZE) ** 0.5  # with half of it in means
    rows, columns = _BLOCK
    for first in range(0, len(order), rows):
        one = slice(first, min(first + rows, len(order)))
        end = int(np.searchsorted(along, along[one.stop - 1] + most, side="right"))
        for start in range(first, end, columns):
            other = slice(start, min(start + columns, end))
            limit = np.minimum(limits[one, None], limits[None, other])
            near = _mean_squares(rest[one], rest[other]) <= limit**2
            limit = np.maximum(MEAN_LIMIT, limit / 2)
            near &= _mean_squares(means[one], means[other]) <= limit**2
            found = np.argwhere(near) + (one.start, other.start)
            if len(found := found[found[:, 0] < found[:, 1]]):
                yield order[found]
        tick(one.stop - first)


def _split_means(signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means of each plane, weighed by its cells, and what remains.

    The squares of both add up to those of the signatures.
    """
    planes = np.split(signatures, PLANES, axis=1)
    means = [part.mean(axis=1, keepdims=True) for part in planes]
    pairs = list(zip(planes, means, strict=True))
    weighed = np.concatenate([m * p.shape[1] ** 0.5 for p, m in pairs], axis=1)
    return weighed, np.concatenate([p - m for p, m in pairs], axis=1)


def _mean_squares(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mean squares over the cells of a signature of all differences: [A, B]."""
    squares = (ones**2).sum(1)[:, None] + (others**2).sum(1)[None]
    return (squares - 2 * ones @ others.T) / SIGNATURE_SIZE
