"""Looks at image files to find the size and channels that their pixels should have."""

import collections
import concurrent.futures
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from trainer import storage, system
from trainer.data import preprocessing
from trainer.data.preprocessing import ImageInfo, PixelSpec, UnreadableImage
from trainer.data.sources.image_files import ImageFile, Listing
from trainer.data.store.request import FilesRequest
from trainer.errors import InvalidInput
from trainer.monitoring.progress import CONSOLE
from trainer.storage import as_failure

LARGEST_PROPOSAL, MULTIPLE = 224, 16  # of a proposed image_size, in pixels
PROBED = 64  # files that one task looks at
Task, Result = TypeVar("Task"), TypeVar("Result")


def read_content(file: ImageFile) -> bytes:
    """The bytes of an image file.

    Raises:
        UnreadableImage: it cannot be opened, or is too large.
        PeerLost: the storage cannot be read for now.
    """
    if file.problem is not None:
        raise UnreadableImage(file.problem)
    try:
        return preprocessing.read_file(file.path)
    except OSError as error:
        if storage.is_temporary_read_error(error):
            raise as_failure(f"{file.path} cannot be read", error) from error
        raise UnreadableImage(error.strerror or "it cannot be read") from error


def resolve(
    request: FilesRequest, listing: Listing
) -> tuple[PixelSpec, dict[str, object]]:
    """The specification of pixels, and what was seen of the files ("size", "channels").

    Files that cannot be read have no say. Where the size is given, the search for a
    file with colour ends with the first.

    Raises:
        InvalidInput: the files have several sizes and none is given, or none of them
            can be read.
    """
    size, channels = request.image_size, request.channels
    probed: dict[str, object] = {"size": None, "channels": None}
    if size is None or channels is None:
        sizes, seen = _probe(listing.files, until_colour=size is not None)
        if not sizes:
            raise InvalidInput(f"{request.option}: none of its files can be read")
        probed["channels"] = seen
        channels = channels or seen
        if size is None:
            size = _common_size(request, sizes)
            probed["size"] = list(size)
    return PixelSpec(*size, channels, request.resize), probed


def _probe(
    found: Sequence[ImageFile], until_colour: bool
) -> tuple[collections.Counter[tuple[int, int]], int]:
    """Counts the sizes; the channels are 3 as soon as one file has colour."""
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    channels = 1
    parts = [found[n : n + PROBED] for n in range(0, len(found), PROBED)]
    with CONSOLE.count(len(found), "looking at the files", "files") as tick:
        for part in in_threads(_probe_part, parts):
            sizes.update((info.height, info.width) for info in part if info)
            if any(info.channels == 3 for info in part if info):
                channels = 3
                if until_colour:
                    break
            tick(len(part))
    return sizes, channels


def _probe_part(part: Sequence[ImageFile]) -> list[ImageInfo | None]:
    return [_probe_one(file) for file in part]


def _probe_one(file: ImageFile) -> ImageInfo | None:
    try:
        return preprocessing.probe(read_content(file))
    except UnreadableImage:
        return None


def _common_size(
    request: FilesRequest, sizes: collections.Counter[tuple[int, int]]
) -> tuple[int, int]:
    if len(sizes) == 1:
        (size,) = sizes
        return size
    shown = ", ".join(f"{h}x{w} ({n:,})" for (h, w), n in sizes.most_common(3))
    more = f" and {len(sizes) - 3:,} more" if len(sizes) > 3 else ""
    raise InvalidInput(
        f"{request.option} has images of {len(sizes):,} sizes (height x width): "
        f"{shown}{more};\nname the size to train on, e.g. image_size={propose(sizes)}"
    )


def propose(sizes: collections.Counter[tuple[int, int]]) -> int:
    """The side to propose: the median shorter side, at most 224, in steps of 16."""
    median = statistics.median_high(min(size) for size in sizes.elements())
    return max(MULTIPLE, min(LARGEST_PROPOSAL, median // MULTIPLE * MULTIPLE))


def in_threads(
    work: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[Result]:
    """Yields the results of `work` in order, from as many threads as there are cores.

    Only a few tasks are begun ahead of the one that is waited for.
    """
    threads = system.threads()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        begun: collections.deque[concurrent.futures.Future] = collections.deque()
        try:
            for task in tasks:
                begun.append(pool.submit(work, task))
                if len(begun) > 2 * threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
