"""Checkpoints: written atomically, and verified when they are loaded.

``checkpoints/step-00001200/`` contains ``variables.npz`` (every variable of a
TrainState by name) and ``manifest.json``, which has the size and SHA-256 of
``variables.npz``, a hash of itself, and facts about the state. The folder is written
under another name, flushed to disk, and renamed.
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
from trainer.config.schema import Config
from trainer.errors import InvalidInput
from trainer.rundir import metadata
from trainer.rundir.arrays import parse_npz
from trainer.rundir.weights import eval_weights, raw_weights, weights_sha256

VERSION = 1
MANIFEST, VARIABLES = "manifest.json", "variables.npz"
_NAME = re.compile(r"step-(\d{8,})")


class OtherWeights(errors.CorruptCheckpoint):
    """A checkpoint whose manifest has a wrong hash of the weights."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint.

    Attributes:
        path: its folder.
        step: number of steps done.
        arrays: all variables by name.
        facts: the manifest.
        weights_sha256: hash of `eval_weights(arrays)`.
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

    `confirm` is called just before the rename; it raises an exception to prevent it.

    Raises:
        OSError: the disk is full or gone; earlier checkpoints are untouched.
    """
    final = step_folder(directory, facts["step"])
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
        remove(final)  # it exists only if it was found damaged
        os.rename(beside, final)
        files.sync_directory(directory)
    finally:
        files.delete(beside)
    return final


def step_folder(directory: pathlib.Path, step: int) -> pathlib.Path:
    """Names the folder of the checkpoint of `step`."""
    return directory / f"step-{step:08d}"


def load(
    path: pathlib.Path, *, expected: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Loads and verifies the checkpoint in folder `path`.

    Each file is read once, so the bytes that are verified are the bytes that are used.

    Raises:
        CorruptCheckpoint: it is damaged, or its facts differ from `expected`.
        FileNotFoundError: there is no such folder.
        OSError: the storage cannot be read at the moment.
        InvalidInput: it does not fit into the free memory.
    """
    found = _load(path)
    for name, value in (expected or {}).items():
        if not _agrees(name, found.facts.get(name), value):
            raise errors.CorruptCheckpoint(f"it belongs to another run: {name} differs")
    return found


def _agrees(name: str, recorded: Any, value: Any) -> bool:
    """Whether a fact is the expected one; earlier releases recorded less."""
    if name == "config" and isinstance(recorded, dict):
        return Config.complete_json(recorded) == value
    if name == "data" and isinstance(recorded, dict):
        return not metadata.data_differences(recorded, value)
    return recorded == value


def _load(path: pathlib.Path) -> Checkpoint:
    if not os.path.lexists(path):
        raise FileNotFoundError(f"no checkpoint {path}")
    if not path.is_dir():
        raise errors.CorruptCheckpoint("it is not a folder")
    try:
        facts = files.read_json(path / MANIFEST)
        if facts["manifest_sha256"] != _own_hash(facts):
            raise errors.CorruptCheckpoint(f"{MANIFEST} was altered")
        if facts["version"] != VERSION:
            raise errors.CorruptCheckpoint(
                f"version {facts['version']}, this code reads {VERSION}"
            )
        step = _named_step(path, facts["step"])
        arrays = parse_npz(_content(path / VARIABLES, facts["files"][VARIABLES]))
    except OSError as error:
        if storage.is_temporary_read_error(error):
            raise  # a skipped checkpoint would be removed later
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
    """Reads the variables and compares them with size and hash in the manifest."""
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
    """Computes the hash of the evaluated weights; checks those in the manifest."""
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
    """Lists folders named like checkpoints, newest first, without verifying them."""
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
    """Loads the newest checkpoint that is valid and has the facts in `expected`.

    It is safe while another process adds and removes checkpoints.

    Args:
        directory: the folder of checkpoints.
        skipped: receives a message about each corrupt checkpoint.
        expected: facts that the manifest must have.

    Returns:
        None if there is no such checkpoint.
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
    """Removes all but the `keep` newest checkpoints.

    `last` is the step just written. Checkpoints of later steps were corrupt when the
    run was resumed from an earlier one: they are removed and do not count.
    """
    found = list_folders(directory)
    later = [p for p in found if last is not None and _step(p) > last]
    for path in later + found[len(later) + keep :]:
        remove(path)


def remove_partial(directory: pathlib.Path) -> None:
    """Removes folders that killed processes left; only the lease holder may call it."""
    for path in directory.iterdir():
        if path.name.startswith((".step-", ".removed.")):
            files.delete(path)


def remove(path: pathlib.Path) -> None:
    """Removes a checkpoint; renames it first, so that no reader sees a part of it."""
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
