"""Writes the files of a store: the pixels, labels and ids of a split, and its name."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainer import files
from trainer.data.split import SplitHashes
from trainer.data.store import store_manifest
from trainer.monitoring.progress import OnBatch


@dataclasses.dataclass(frozen=True)
class SplitFiles:
    """What is written of a split.

    Attributes:
        shape: N, H, W, C.
        read: gives the images of the rows from the first number up to the second.
        labels: int32 [N].
        ids: of its images.
    """

    shape: tuple[int, int, int, int]
    read: Callable[[int, int], np.ndarray]
    labels: np.ndarray
    ids: Sequence[str]


def write(
    folder: pathlib.Path, split: SplitFiles, chunk: int, tick: OnBatch
) -> dict[str, Any]:
    """Writes a split into a new folder, `chunk` images at a time.

    Returns:
        What the manifest says of it.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir()
    hashes, chunks = SplitHashes(split.ids, split.shape), []
    with files.open_for_update(folder / store_manifest.PIXELS, create=True) as out:
        for start in range(0, split.shape[0], chunk):
            pixels = np.ascontiguousarray(split.read(start, start + chunk))
            out.write(pixels)
            hashes.update(pixels)
            chunks.append(hashlib.sha256(pixels).hexdigest())
            tick(len(pixels))
        out.flush()
        os.fsync(out.fileno())
    np.save(folder / store_manifest.LABELS, split.labels)
    ids = json.dumps(list(split.ids)).encode()
    files.write_new(folder / store_manifest.IDS, ids, durable=True)
    sha256, pixels_sha256 = hashes.finish(split.labels)
    return {
        "images": split.shape[0],
        "sha256": sha256,
        "pixels_sha256": pixels_sha256,
        "chunks": chunks,
    }


def publish(partial: pathlib.Path, final: pathlib.Path) -> None:
    """Gives a complete store its name; one that has it is removed afterwards.

    Raises:
        OSError: it cannot be renamed.
    """
    files.delete(old := files.temporary_path(final))
    if final.exists():
        os.rename(final, old)
    os.rename(partial, final)
    files.sync_directory(final.parent)
    files.delete(old)
