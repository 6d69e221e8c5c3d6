"""Artifact: an exported file or folder with its manifest.

It is created in a hidden folder, verified there and then renamed. The manifest is
renamed last: a model without one is not an artifact.
"""

import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from eval.formats import atomic_folders, model_signature
from eval.formats import manifest as manifests
from eval.predictors import engine
from trainer import files, storage
from trainer.errors import InvalidInput

VERSION = 1
SAVED_MODEL = "saved_model"  # the format, and the folder of its versions
HIDDEN, LOCK = atomic_folders.HIDDEN, atomic_folders.LOCK
_AWAY = "an export is written there: move it away"
_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy")


@dataclasses.dataclass(frozen=True, repr=False)
class Artifact:
    """An exported file or folder under its final name, and its manifest.

    Attributes:
        replaced: whether it took the place of an older one.
    """

    path: pathlib.Path
    manifest: Mapping[str, Any]
    replaced: bool = False

    def __repr__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """Formats path, size and accuracy as two lines."""
        test, size = manifests.verification(self.manifest), self.manifest["bytes"]
        low, high = test["accuracy_interval"]
        images = describe_images(test)
        engine_words = (
            f"; {engine.format_engine(test['engine'])}" if "engine" in test else ""
        )
        split = test.get("split", "test")
        replaced = "; an older one was replaced" if self.replaced else ""
        return (
            f"{self.path}\n{size:,} bytes; {test['accuracy']:.2%} (95 %: {low:.2%} to "
            f"{high:.2%}) of {images} {split} images, {test['flips']} "
            f"unlike the checkpoint; NLL {test['nll']:.4f}, ECE {test['ece']:.2%}"
            f"{engine_words}{replaced}"
        )


def check_writable(folder: pathlib.Path, *, folders: bool = False) -> None:
    """Checks that an export can be written to `folder`, and leaves nothing there.

    Raises:
        InvalidInput: it cannot be written.
    """
    storage.check_writable(folder, "the export", folders=folders, appends=False)


def check_replaceable(final: pathlib.Path) -> None:
    """Checks that an exported file may get the name `final`, before it is made.

    Raises:
        InvalidInput: a folder has its name, or that of a file which belongs to it.
    """
    _check_no_folders(final, manifests.manifest_path(final))
    _check_signature(final)


def check_replaceable_folder(final: pathlib.Path) -> None:
    """Checks that an exported folder may get the name `final`, before it is made.

    Raises:
        InvalidInput: a file has its name, or a folder that is no export, which would be
            replaced as a whole.
    """
    check_folder(final.parent)
    check_folder(final)
    exported = (final / manifests.FILE).exists()
    if final.is_dir() and not exported and any(final.iterdir()):
        raise InvalidInput(f"{final} has no {manifests.FILE}: it is not ours; {_AWAY}")
    _check_signature(final)


def _check_signature(final: pathlib.Path) -> None:
    """Checks that the signature of an older `final` can be taken away."""
    signature = model_signature.signature_path(final)
    _check_no_folders(signature, model_signature.materials_path(final))


def _check_no_folders(*paths: pathlib.Path) -> None:
    for path in paths:
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder; {_AWAY}")


def check_folder(path: pathlib.Path) -> None:
    """Checks that `path` is a folder, or nothing.

    Raises:
        InvalidInput: it is not.
    """
    if path.exists() and not path.is_dir():
        raise InvalidInput(f"{path} is no folder; {_AWAY}")


def describe_images(test: Mapping[str, Any]) -> str:
    """Describes the number of tested images, such as "a sample of 20 of 360"."""
    if not test["sampled"]:
        return f"{test['images']:,}"
    total = f" of {test['split_images']:,}" if "split_images" in test else ""
    return f"a sample of {test['images']:,}{total}"


# A hidden folder in the folder of exports; files that are not published are removed.
staging_folder = functools.partial(atomic_folders.staging_folder, what="the export")


def publish_file(
    made: pathlib.Path,
    final: pathlib.Path,
    facts: Mapping[str, Any],
    programs: pathlib.Path | None = None,
) -> Artifact:
    """Renames the file `made` to `final`, replacing any, and writes its manifest.

    Args:
        programs: the folder of programs that use it, named as it will be beside it.
    """
    manifest = {
        **_header(final.name),
        "sha256": manifests.file_sha256(made),
        "bytes": made.stat().st_size,
        **facts,
    }
    manifest_path, replaced = manifests.manifest_path(final), final.exists()
    prepared = made.with_name(manifest_path.name)
    files.write_json(prepared, manifest)
    with atomic_folders.publishing():
        manifest_path.unlink(missing_ok=True)  # the manifest of the older file
        _remove_signature(final)
        os.replace(made, final)
        if programs is not None:
            seal = min(path.name for path in programs.iterdir())
            atomic_folders.replace(programs, final.with_name(programs.name), seal)
        os.replace(prepared, manifest_path)
    files.sync_directory(final.parent)
    return Artifact(final, manifest, replaced)


def publish_version(
    made: pathlib.Path, root: pathlib.Path, facts: Mapping[str, Any]
) -> Artifact:
    """Renames the folder `made` to the next number in `root`, with its manifest."""
    root.mkdir(exist_ok=True)
    final = root / str(_next_number(root))
    manifest = _write_manifest(made, f"{root.name}/{final.name}", facts)
    os.rename(made, final)  # fails if another process took the number
    files.sync_directory(root)
    return Artifact(final, manifest)


def publish_folder(
    made: pathlib.Path, final: pathlib.Path, facts: Mapping[str, Any]
) -> Artifact:
    """Renames the folder `made`, with its manifest, to `final`, replacing any."""
    manifest = _write_manifest(made, final.name, facts)
    final.parent.mkdir(exist_ok=True)
    replaced = final.exists()
    with atomic_folders.publishing():
        _remove_signature(final)
        atomic_folders.replace(made, final)
    return Artifact(final, manifest, replaced)


def _remove_signature(path: pathlib.Path) -> None:
    """Removes the signature of the older file or folder, and its list of materials."""
    model_signature.signature_path(path).unlink(missing_ok=True)
    model_signature.materials_path(path).unlink(missing_ok=True)


def _write_manifest(
    made: pathlib.Path, name: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes the manifest of the folder `made` into it."""
    parts = {
        str(path.relative_to(made)): {
            "sha256": manifests.file_sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(made.rglob("*"))
        if path.is_file()
    }
    manifest = {
        **_header(name),
        "sha256": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        "bytes": sum(part["bytes"] for part in parts.values()),
        "files": parts,
        **facts,
    }
    files.write_json(made / manifests.FILE, manifest)
    return manifest


def load_artifact(path: pathlib.Path) -> Artifact | None:
    """Loads the artifact at `path` and checks its hashes; None if it is not valid."""
    try:
        manifest = files.read_json(manifests.manifest_path(path))
        hashes = manifests.file_hashes(path, manifest)
        whole = all(
            manifests.file_sha256(k) == part["sha256"] for k, part in hashes.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Artifact(path, manifest) if whole else None


def load_matching(
    path: pathlib.Path, facts: Mapping[str, Any], keys: Collection[str]
) -> Artifact | None:
    """Loads the artifact at `path` if its manifest has the `keys` as in `facts`."""
    made = load_artifact(path)
    same = made and all(made.manifest.get(key) == facts[key] for key in keys)
    return made if same else None


def _header(name: str) -> dict[str, Any]:
    return {
        "version": VERSION,
        "file": name,
        "created": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _next_number(root: pathlib.Path) -> int:
    taken = [int(p.name) for p in root.iterdir() if p.name.isdecimal()]
    return max(taken, default=0) + 1
