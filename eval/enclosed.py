"""What an exported file says of itself, from inside and from beside it.

A `.tflite` may have a zip archive at its end (labels, and our provenance.json) and
names of files in its metadata; a manifest may stand beside it. What contradicts is an
error: nobody can tell which of them is right.
"""

import lzma
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from eval import tflite_metadata
from trainer import files
from trainer.commandline import UsageError, first_line
from trainer.printable import shortened, single_line

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
_SHOWN = 3  # names of files that are not read
_LARGEST = 2**22  # bytes of such a file; one class's name has some ten
# Fields of a manifest that are asked for, and what they are in ours.
FIELDS = {
    "config": dict,
    "labels": list,
    "data_sha256": dict,
    "files": dict,
    "image_shape": list,
    "io": dict,
}
# What two descriptions of one file must agree on.
_SHARED = ("labels", "image_shape", "data", "config", "weights_sha256", "temperature")


def sound(found: Any) -> bool:
    """Whether `found` is made as a manifest of ours is."""
    return isinstance(found, dict) and all(
        isinstance(found.get(field, kind()), kind) for field, kind in FIELDS.items()
    )


def said(
    path: pathlib.Path,
    beside: Mapping[str, Any],
    *,
    tell: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """All that is said of `path`: its manifest, which stands `beside`, and inside it.

    `tell` hears, in a line, of parts inside that are not read.

    Raises:
        UsageError: two of them contradict each other.
    """
    inside, names = _inside(path, tell)
    for field in _SHARED:
        if field in inside and field in beside and inside[field] != beside[field]:
            raise UsageError(
                f"{path} says inside that its {field} is {_short(inside[field])},"
                f" its manifest {_short(beside[field])};\nput its own manifest beside"
                " it, or remove that"
            )
    found = inside | dict(beside)
    noted = [one_line(str(label)).strip() for label in found.get("labels", [])]
    while noted and not noted[-1]:  # as at the end of a file of lines
        noted.pop()
    if names and noted and names != noted:
        raise UsageError(
            f"{path} has labels inside, {_short(names)}, that its manifest"
            f" contradicts: {_short(found['labels'])};\none of them is of another file"
        )
    return found if noted or not names else found | {"labels": names}


def one_line(label: str) -> str:
    """`label` with what ends a line or a C string, anywhere, as a Python escape.

    Python alone splits lines at eleven characters, U+2028 among them; a NUL ends a C
    string. The manifest has every label as it is.
    """
    ends = "\0\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
    coded = (ascii(char)[1:-1] if char in ends else char for char in label)
    return "".join(coded)


def _inside(
    path: pathlib.Path, tell: Callable[[str], object]
) -> tuple[dict[str, Any], list[str]]:
    """Our provenance and the labels in a file; {} and [] where there are none."""
    if path.is_dir():
        return {}, _names(_text(path / "assets" / LABELS))
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            name = tflite_metadata.labels_file(path.read_bytes()) or LABELS
            name = name if name in sizes else LABELS
            parts = {
                part: archive.read(part)
                for part in (name, PROVENANCE)
                if sizes.get(part, _LARGEST + 1) <= _LARGEST
            }
    except _DAMAGE as error:  # damaged or encrypted, if it is one
        if _is_archive(path):
            what = f"of the archive inside {path} nothing is read"
            tell(single_line(f"{what}: {first_line(error)}"))
        return {}, []
    if left := [part for part in sizes if part not in parts]:
        more = f" and {len(left) - _SHOWN:,} more" if len(left) > _SHOWN else ""
        shown = ", ".join(
            shortened(part) or "a file without name" for part in left[:_SHOWN]
        )
        tell(single_line(f"{path} has files inside that are not read: {shown}{more}"))
    return _provenance(parts.get(PROVENANCE)), _names(parts.get(name))


def _is_archive(path: pathlib.Path) -> bool:
    """Whether an archive's end is there; nothing is there to be told of without."""
    try:
        return zipfile.is_zipfile(path)
    except _DAMAGE:
        return False


def _text(path: pathlib.Path) -> bytes | None:
    try:
        return files.read_bytes(path, _LARGEST)
    except OSError:
        return None


def _provenance(content: bytes | None) -> dict[str, Any]:
    try:
        found = files.parse_json(content or b"{}")
    except ValueError:
        return {}
    return found if sound(found) else {}


def _names(content: bytes | None) -> list[str]:
    """Lines as names of classes; [] if there are fewer than two or no UTF-8."""
    try:
        lines = [line.strip() for line in (content or b"").decode().splitlines()]
    except UnicodeDecodeError:
        return []
    while lines and not lines[-1]:
        lines.pop()
    return lines if len(lines) > 1 else []


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else value
    return shortened(text)
