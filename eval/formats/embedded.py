"""Reads the descriptions of an exported file: those inside and its manifest.

A `.tflite` may have a zip archive at its end (labels, and our provenance.json) and
names of files in its metadata, an ONNX file has both in its metadata; a manifest may be
stored beside it. A contradiction
between them is an error, as it is unknown which of them is right.
"""

import lzma
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from eval.formats import onnx_metadata, tflite_metadata
from trainer import files
from trainer.errors import InvalidInput, first_line
from trainer.monitoring.printable import shortened, single_line

LABELS, PROVENANCE = "labels.txt", "provenance.json"
_DAMAGE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    ValueError,
)
_SHOWN = 3  # ignored files that a message names
_LARGEST = 2**22  # bytes of a file that is read; the name of a class has about ten
# Fields of a manifest that are used, and their types.
FIELDS = {
    "config": dict,
    "labels": list,
    "data_sha256": dict,
    "files": dict,
    "image_shape": list,
    "io": dict,
    "preprocessing": dict,
}
# Fields that must be equal in all descriptions of a file.
_SHARED = ("labels", "image_shape", "data", "config", "weights_sha256", "temperature")


def is_manifest(found: object) -> bool:
    """Whether `found` has the types of one of our manifests."""
    return isinstance(found, dict) and all(
        isinstance(found.get(field, kind()), kind) for field, kind in FIELDS.items()
    )


def load_description(
    path: pathlib.Path,
    beside: Mapping[str, Any],
    *,
    warn: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Merges the manifest `beside` the file with the descriptions inside it.

    `warn` is called with one line about parts inside that are ignored.

    Raises:
        InvalidInput: two descriptions contradict each other.
    """
    inside, names = _load_inside(path, warn)
    for field in _SHARED:
        if field in inside and field in beside and inside[field] != beside[field]:
            raise InvalidInput(
                f"{path} says inside that its {field} is {_short(inside[field])},"
                f" its manifest {_short(beside[field])};\nput its own manifest beside"
                " it, or remove that"
            )
    found = inside | dict(beside)
    noted = [one_line(str(label)).strip() for label in found.get("labels", [])]
    while noted and not noted[-1]:  # as at the end of a file of lines
        noted.pop()
    if names and noted and names != noted:
        raise InvalidInput(
            f"{path} has labels inside, {_short(names)}, that its manifest"
            f" contradicts: {_short(found['labels'])};\none of them belongs to another"
            " file"
        )
    return found if noted or not names else found | {"labels": names}


def one_line(label: str) -> str:
    """Escapes every character of `label` that ends a line or a C string.

    Python splits lines at eleven characters, U+2028 among them; a NUL ends a C string.
    The manifest has the unchanged labels.
    """
    ends = "\0\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
    coded = (ascii(char)[1:-1] if char in ends else char for char in label)
    return "".join(coded)


def _load_inside(
    path: pathlib.Path, warn: Callable[[str], object]
) -> tuple[dict[str, Any], list[str]]:
    """Loads our provenance and the labels in a file; {} and [] where there are none."""
    if path.is_dir():
        return {}, _parse_labels(_load_labels(path / "assets" / LABELS))
    if path.suffix == ".onnx":
        props = onnx_metadata.load_metadata(path)
        parts = {k: v.encode() for k, v in props.items() if len(v) <= _LARGEST}
        return _parse_provenance(parts.get(PROVENANCE)), _parse_labels(
            parts.get(LABELS)
        )
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            name = tflite_metadata.find_labels_file(path.read_bytes()) or LABELS
            name = name if name in sizes else LABELS
            parts = {
                part: archive.read(part)
                for part in (name, PROVENANCE)
                if sizes.get(part, _LARGEST + 1) <= _LARGEST
            }
    except _DAMAGE as error:  # no archive, or a damaged or encrypted one
        if _is_archive(path):
            what = f"the archive inside {path} is ignored"
            warn(single_line(f"{what}: {first_line(error)}"))
        return {}, []
    if left := [part for part in sizes if part not in parts]:
        more = f" and {len(left) - _SHOWN:,} more" if len(left) > _SHOWN else ""
        shown = ", ".join(
            shortened(part) or "a file without name" for part in left[:_SHOWN]
        )
        warn(single_line(f"{path} has files inside that are not read: {shown}{more}"))
    return _parse_provenance(parts.get(PROVENANCE)), _parse_labels(parts.get(name))


def _is_archive(path: pathlib.Path) -> bool:
    """Whether the file ends with a zip archive."""
    try:
        return zipfile.is_zipfile(path)
    except _DAMAGE:
        return False


def _load_labels(path: pathlib.Path) -> bytes | None:
    try:
        return files.read_bytes(path, _LARGEST)
    except OSError:
        return None


def _parse_provenance(content: bytes | None) -> dict[str, Any]:
    try:
        found = files.parse_json(content or b"{}")
    except ValueError:
        return {}
    return found if is_manifest(found) else {}


def _parse_labels(content: bytes | None) -> list[str]:
    """Parses lines as class names; [] if there are fewer than two or not UTF-8."""
    try:
        lines = [line.strip() for line in (content or b"").decode().splitlines()]
    except UnicodeDecodeError:
        return []
    while lines and not lines[-1]:
        lines.pop()
    return lines if len(lines) > 1 else []


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else value
    return shortened(text)
