"""Checkpoints that cannot lie: whole or absent, and verified before they are used.

Layout: ``checkpoints/step-00001200/`` holds ``variables.npz`` (every variable of a
TrainState by name) and ``manifest.json``, which has size and SHA-256 of the former, a
hash of itself, and the facts of the state. The folder is written under another name,
flushed, and renamed.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainer import errors, files, storage, system
from trainer.errors import InvalidInput
from trainer.rundir import arrays as packing
from trainer.rundir.weights import eval_weights, raw_weights, weights_sha256

VERSION = 1
MANIFEST, VARIABLES = "manifest.json", "variables.npz"
_NAME = re.compile(r"step-(\d{8,})")


class OtherWeights(errors.CorruptCheckpoint):
    """A manifest that claims other weights than the variables beside it are."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint.

    Attributes:
        arrays: all variables by name.
        facts: its manifest.
        weights_sha256: of the weights that are shipped, computed from `arrays`.
    """

    path: pathlib.Path
    step: int
    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]
    weights_sha256: str


def save(
    directory: pathlib.Path,
    arrays: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
    *,
    confirm: Callable[[], None] = lambda: None,
) -> pathlib.Path:
    """Writes the checkpoint of `facts["step"]` and returns its folder.

    `confirm` is called before the rename, and raises where it must not happen.

    Raises:
        OSError: the disk is full or gone; what was there before is untouched.
    """
    final = folder_of(directory, facts["step"])
    beside = directory / f".{final.name}.{os.getpid()}"
    files.delete(beside)
    try:
        beside.mkdir(parents=True)
        packed = io.BytesIO()
        np.savez(packed, **arrays)
        content = packed.getvalue()
        files.write_bytes(beside / VARIABLES, content)
        manifest = {
            "version": VERSION,
            **facts,
            "files": {
                VARIABLES: {"bytes": len(content), "sha256": _sha256(content)},
            },
        }
        manifest["manifest_sha256"] = _own_hash(manifest)
        files.write_json(beside / MANIFEST, manifest)
        confirm()
        remove(final)  # there only if it was found damaged
        os.rename(beside, final)
        files.sync_directory(directory)
    finally:
        files.delete(beside)
    return final


def folder_of(directory: pathlib.Path, step: int) -> pathlib.Path:
    """Where the checkpoint of `step` is."""
    return directory / f"step-{step:08d}"


def load(
    path: pathlib.Path, *, expected: Mapping[str, Any] | None = None
) -> Checkpoint:
    """The checkpoint in folder `path`, verified; the bytes checked are those loaded.

    Raises:
        CorruptCheckpoint: it is damaged, or its facts differ from `expected`.
        FileNotFoundError: there is nothing of that name.
        OSError: the storage does not give it now.
        InvalidInput: it is whole, but larger than the memory that is free.
    """
    found = _load(path)
    for name, value in (expected or {}).items():
        if found.facts.get(name) != value:
            raise errors.CorruptCheckpoint(f"it is of another run: {name} differs")
    return found


def _load(path: pathlib.Path) -> Checkpoint:
    if not os.path.lexists(path):
        raise FileNotFoundError(f"no checkpoint {path}")
    if not path.is_dir():
        raise errors.CorruptCheckpoint("it is no folder")
    try:
        facts = files.read_json(path / MANIFEST)
        if facts["manifest_sha256"] != _own_hash(facts):
            raise errors.CorruptCheckpoint(f"{MANIFEST} was altered")
        if facts["version"] != VERSION:
            raise errors.CorruptCheckpoint(
                f"version {facts['version']}, this code reads {VERSION}"
            )
        step = _named_step(path, facts["step"])
        arrays = packing.npz(_content(path / VARIABLES, facts["files"][VARIABLES]))
    except OSError as error:
        if storage.is_temporary_read_error(error):
            raise  # skipped, it would be trained again and removed
        raise errors.CorruptCheckpoint(
            f"{error.strerror or error}: {error.filename}"
        ) from error
    except KeyError as error:
        raise errors.CorruptCheckpoint(
            f"{MANIFEST} is not one of ours: it has no {error}"
        ) from error
    except (TypeError, AttributeError) as error:
        raise errors.CorruptCheckpoint(f"{MANIFEST} is not one of ours") from error
    except (errors.CorruptCheckpoint, errors.InvalidInput):
        raise  # both are ValueErrors, too
    except ValueError as error:
        raise errors.CorruptCheckpoint(str(error)) from error
    return Checkpoint(
        path=path,
        step=step,
        arrays=arrays,
        facts=facts,
        weights_sha256=_check_weights(arrays, facts),
    )


def _named_step(path: pathlib.Path, step: Any) -> int:
    match = _NAME.fullmatch(path.name)
    if match is None or type(step) is not int or int(match[1]) != step:
        raise errors.CorruptCheckpoint(
            f"the folder's name does not fit its step {step}"
        )
    return step


def _content(path: pathlib.Path, noted: Mapping[str, Any]) -> bytes:
    """The bytes of the variables, those that the manifest notes."""
    size = os.stat(path).st_size
    if size != noted["bytes"]:
        raise errors.CorruptCheckpoint(
            f"{VARIABLES} has {size} of {noted['bytes']} bytes"
        )
    if 2 * size > (free := system.free_bytes()):
        raise InvalidInput(
            f"{path} needs {2 * size:,} bytes of memory, {free:,} are free"
        )
    content = files.read_bytes(path, size)
    if _sha256(content) != noted["sha256"]:
        raise errors.CorruptCheckpoint(f"{VARIABLES} was altered")
    return content


def _check_weights(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> str:
    """The hash of what is shipped; a manifest must not claim other weights."""
    own = {
        "weights_sha256": weights_sha256(eval_weights(arrays)),
        "raw_weights_sha256": weights_sha256(raw_weights(arrays)),
    }
    for name, computed in own.items():
        if (noted := facts.get(name, computed)) != computed:
            raise OtherWeights(
                f"{MANIFEST} says {name} {str(noted)[:12]}, {VARIABLES} holds "
                f"{computed[:12]}"
            )
    return own["weights_sha256"]


def list_folders(directory: pathlib.Path) -> list[pathlib.Path]:
    """Folders named like checkpoints, newest first; none is verified."""
    if not directory.is_dir():
        return []
    found = [p for p in directory.iterdir() if _NAME.fullmatch(p.name)]
    return sorted(found, key=_step, reverse=True)


def _step(path: pathlib.Path) -> int:
    return int(path.name.removeprefix("step-"))


def load_latest(
    directory: pathlib.Path,
    *,
    skipped: Callable[[str], None],
    expected: Mapping[str, Any] | None = None,
) -> Checkpoint | None:
    """The newest good checkpoint; `skipped` is told which were not good, and why.

    Not good is also one that says something else than the facts in `expected`. Safe
    while another process adds and removes checkpoints.
    """
    for path in list_folders(directory):
        try:
            return load(path, expected=expected)
        except FileNotFoundError:
            continue
        except errors.CorruptCheckpoint as error:
            if os.path.lexists(path):
                skipped(f"skipped checkpoint {path}: {error}")
    return None


def prune(directory: pathlib.Path, keep: int, *, last: int | None = None) -> None:
    """Removes all but the `keep` newest; to be called after a successful `write`.

    `last` is the step just written: what is named after a later one was damaged when
    the run was resumed before it, and must not count among the newest.
    """
    found = list_folders(directory)
    later = [p for p in found if last is not None and _step(p) > last]
    for path in later + found[len(later) + keep :]:
        remove(path)


def remove_partial(directory: pathlib.Path) -> None:
    """Removes what killed saves left half written; only for the run's one owner."""
    for path in directory.iterdir():
        if path.name.startswith((".step-", ".removed.")):
            files.delete(path)


def remove(path: pathlib.Path) -> None:
    """Removes a checkpoint so that no reader sees half of one under its name."""
    doomed = path.with_name(f".removed.{path.name}.{os.getpid()}")
    try:
        os.rename(path, doomed)
    except FileNotFoundError:
        return
    files.delete(doomed)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _own_hash(manifest: Mapping[str, Any]) -> str:
    rest = {k: v for k, v in manifest.items() if k != "manifest_sha256"}
    return _sha256(json.dumps(rest, sort_keys=True).encode())
