"""The manifest beside an exported file or inside an exported folder."""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

FILE = "manifest.json"  # of a folder


def manifest_path(path: pathlib.Path) -> pathlib.Path:
    """Names the manifest of the file or folder `path`."""
    return path / FILE if path.is_dir() else path.with_name(path.name + ".json")


def file_hashes(
    path: pathlib.Path, manifest: Mapping[str, Any]
) -> dict[pathlib.Path, Any]:
    """Finds the entry of `manifest` for each file of `path`.

    If `path` is a file, the manifest itself is its entry.

    Raises:
        ValueError: the manifest names a file outside `path`, or not every file in it.
    """
    noted = manifest.get("files") or {"": manifest}
    for name in noted:
        if pathlib.PurePath(name).is_absolute() or ".." in pathlib.PurePath(name).parts:
            raise ValueError(f"it names {name!r:.99}, which is not in {path}")
    if path.is_dir():
        there = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
        if extra := sorted(there - noted.keys() - {FILE}):
            raise ValueError(f"it does not name {extra[0]!r:.99}")
    return {path / name: part for name, part in noted.items()}


def verification(manifest: Mapping[str, Any]) -> Any:
    """What the file scored: on the "test" split, or else on "validation" rows.

    None: neither is there.
    """
    return manifest.get("test") or manifest.get("validation")


def file_sha256(path: pathlib.Path) -> str:
    """Computes the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
