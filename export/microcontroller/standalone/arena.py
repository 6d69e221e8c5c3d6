"""Plans where tensors lie in the arena: the largest first, at the lowest free place.

That is the greedy order by size of Pisarchyk & Lee 2020, arXiv:2001.03288, section 5.
"""

import dataclasses
from collections.abc import Sequence

_ALIGNMENT = 16


@dataclasses.dataclass(frozen=True)
class Buffer:
    """Bytes that are needed from step `first` to step `last`, both included."""

    size: int
    first: int
    last: int

    def overlaps(self, other: "Buffer") -> bool:
        """Whether both are needed in the same step."""
        return self.first <= other.last and other.first <= self.last


def plan_offsets(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """Plans an offset for each buffer.

    Returns:
        The offsets, multiples of 16, and the bytes of the arena.
    """
    offsets: dict[int, int] = {}
    for index in sorted(range(len(buffers)), key=lambda i: (-buffers[i].size, i)):
        taken = sorted(
            (offsets[other], offsets[other] + _aligned(buffers[other].size))
            for other in offsets
            if buffers[index].overlaps(buffers[other])
        )
        offsets[index] = _lowest_gap(taken, _aligned(buffers[index].size))
    ends = [offsets[i] + _aligned(buffers[i].size) for i in offsets]
    return [offsets[i] for i in range(len(buffers))], max(ends, default=_ALIGNMENT)


def _lowest_gap(taken: list[tuple[int, int]], size: int) -> int:
    place = 0
    for start, end in taken:
        if start - place >= size:
            break
        place = max(place, end)
    return place


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
