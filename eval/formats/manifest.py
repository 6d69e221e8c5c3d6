"""A manifest: what stands beside an exported file, or inside an exported folder."""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

FILE = "manifest.json"  # of a folder


def manifest_path(path: pathlib.Path) -> pathlib.Path:
    """Where the manifest of the file or folder `path` is."""
    return path / FILE if path.is_dir() else path.with_name(path.name + ".json")


def file_hashes(
    path: pathlib.Path, manifest: Mapping[str, Any]
) -> dict[pathlib.Path, Any]:
    """What `manifest` notes of each file of `path`: of a file, of itself.

    Raises:
        ValueError: it names a file elsewhere, or not all that `path` has.
    """
    noted = manifest.get("files") or {"": manifest}
    for name in noted:
        if pathlib.PurePath(name).is_absolute() or ".." in pathlib.PurePath(name).parts:
            raise ValueError(f"it names {name!r:.99}, which is not in {path}")
    if path.is_dir():
        there = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
        if extra := sorted(there - noted.keys() - {FILE}):
            raise ValueError(f"{extra[0]!r:.99} is there, too")
    return {path / name: part for name, part in noted.items()}


def sha256(path: pathlib.Path) -> str:
    """Of the bytes of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
