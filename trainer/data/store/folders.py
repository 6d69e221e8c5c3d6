"""Where stores are: beside the data sets, or in the user's cache."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

from trainer import files, storage
from trainer.config import parsing
from trainer.data.preprocessing import PixelSpec
from trainer.data.store import store_manifest
from trainer.errors import InvalidConfig, InvalidInput

STORES, PROJECT = "stores", "honest-trainer"
PARTIAL = ".partial"  # ends the name of a store that is being written


def search_folders(data_dir: str | None) -> list[pathlib.Path]:
    """The folders in which a store may lie, the preferred one first.

    Raises:
        InvalidConfig: `data_dir` is none of this machine, and the user has no home.
    """
    remedy = "name a folder with `data_dir` or the variable XDG_CACHE_HOME"
    if data_dir is None or "://" in data_dir:
        return [cache_folder(remedy) / STORES]
    beside = pathlib.Path(data_dir) / STORES
    with contextlib.suppress(InvalidConfig):
        return [beside, cache_folder(remedy) / STORES]
    return [beside]


def cache_folder(remedy: str) -> pathlib.Path:
    """The folder of this toolkit in the user's cache.

    Raises:
        InvalidConfig: the user has no home; the message ends with `remedy`.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return parsing.home_folder(cache, remedy) / PROJECT


def writable_folder(data_dir: str | None) -> pathlib.Path:
    """The folder in which a store is written."""
    folders = search_folders(data_dir)
    for folder in folders:
        if os.access(storage.nearest_existing(folder), os.W_OK | os.X_OK):
            return folder
    return folders[-1]


def store_name(path: str, spec: PixelSpec, key: str) -> str:
    """The name of a store: of its source, its pixels and `key`, the source's digits."""
    stem = pathlib.PurePath(path).name
    stem = re.sub(r"[^\w.-]+", "_", stem.encode("utf-8", "replace").decode()).strip(".")
    shape = f"{spec.height}x{spec.width}x{spec.channels}"
    return f"{stem[:40] or 'images'}-{shape}-{spec.resize.value}-{key}"


def with_key(data_dir: str | None, key: str) -> Iterator[pathlib.Path]:
    """The complete stores whose names end in `key`."""
    for folder in search_folders(data_dir):
        for path in sorted(folder.glob(f"[!.]*-{key}")):
            if (path / store_manifest.FILE).is_file():
                yield path


def all_stores(data_dir: str | None) -> list[pathlib.Path]:
    """Complete and partial stores, hidden folders left out."""
    found: list[pathlib.Path] = []
    for folder in search_folders(data_dir):
        found += [
            path
            for path in sorted(folder.glob("[!.]*"))
            if (path / store_manifest.FILE).is_file() or path.name.endswith(PARTIAL)
        ]
    return found


def remove(name: str, data_dir: str | None) -> pathlib.Path:
    """Removes the store `name`; returns where it was.

    Raises:
        InvalidInput: there is none.
    """
    for path in all_stores(data_dir):
        if path.name == name:
            files.delete(path)
            if path.exists():
                raise InvalidInput(f"{path} cannot be removed")
            return path
    places = " or ".join(map(str, search_folders(data_dir)))
    raise InvalidInput(f"there is no store {name} in {places}; `list` shows them")


def size(path: pathlib.Path) -> int:
    """Bytes of the files in a store."""
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
