"""Checkpoints that were edited and sealed again, hashes of files and all."""

import hashlib
import io
import json
import pathlib
import zipfile

import numpy as np

from trainer.rundir import checkpoints


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """As `checkpoints.write` packs them."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def member(content: bytes, name: str, data: bytes, compression: int) -> bytes:
    """The archive `content` with one more member."""
    buffer = io.BytesIO(content)
    with (
        zipfile.ZipFile(buffer, "a", compression) as archive,
        archive.open(
            zipfile.ZipInfo(name) if compression == zipfile.ZIP_STORED else name, "w"
        ) as file,
    ):
        file.write(data)
    return buffer.getvalue()


def header(shape: str, dtype: str = "<f4") -> bytes:
    """The first bytes of a .npy that claims `shape`."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def reseal(path: pathlib.Path, content: bytes | None = None, **facts) -> None:
    """Gives the checkpoint in `path` other variables or facts, and hashes that fit."""
    place = path / checkpoints.MANIFEST
    manifest = json.loads(place.read_bytes()) | facts
    if content is not None:
        (path / checkpoints.VARIABLES).write_bytes(content)
        described = {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        manifest["files"] = {checkpoints.VARIABLES: described}
    manifest["manifest_sha256"] = checkpoints._own_hash(manifest)
    place.write_text(json.dumps(manifest))
