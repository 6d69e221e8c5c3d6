"""Reads NumPy's .npz and .npy files from sources that cannot be trusted.

It accepts no pickles, no compression, and no arrays larger than the file: a compressed
member of 6 MB can unpack to 6 GB, and a header can claim any shape.
"""

import io
import math
import struct
import zipfile

import numpy as np

_KINDS = "biuf"  # dtype.kind of the arrays in checkpoints
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_DAMAGE = (
    zipfile.BadZipFile,
    struct.error,
    NotImplementedError,
    RuntimeError,  # encrypted; its subclass RecursionError: nested too deeply
    OverflowError,
    EOFError,
    MemoryError,
    SyntaxError,
)


def parse_npz(content: bytes) -> dict[str, np.ndarray]:
    """Parses the content of a file that `np.savez` wrote; returns arrays by name.

    Raises:
        ValueError: the file is damaged or has another format.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            members = packed.infolist()
            _check(members, len(content))
            return {
                m.filename[: -len(".npy")]: parse_npy(packed.read(m)) for m in members
            }
    except _DAMAGE as error:
        raise ValueError(f"not an archive of arrays: {error}") from error


def _check(members: list[zipfile.ZipInfo], size: int) -> None:
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ValueError("two arrays have the same name")
    for member in members:
        stored = member.compress_type == zipfile.ZIP_STORED
        if not stored or member.compress_size != member.file_size:
            raise ValueError(
                f"{member.filename!r:.99} is compressed to {member.compress_size:,} "
                f"from {member.file_size:,} bytes; arrays must not be compressed"
            )
        if not member.filename.endswith(".npy"):
            raise ValueError(f"{member.filename!r:.99} is not an array")
    if (total := sum(member.file_size for member in members)) > size:
        raise ValueError(f"its arrays have {total:,} bytes, the file {size:,}")


def parse_npy(content: bytes) -> np.ndarray:
    """Parses the content of a file that `np.save` wrote.

    Raises:
        ValueError: it is not an array of numbers, or its header claims another size.
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"version {version} of the .npy format is not supported")
        shape, by_columns, dtype = _HEADERS[version](file)
        if dtype.kind not in _KINDS or min(shape, default=0) < 0:
            raise ValueError(
                f"an array of {dtype} {shape} is not supported".replace("\n", "")
            )
        start, need = file.tell(), dtype.itemsize * math.prod(shape)
        if start + need != len(content):
            raise ValueError(
                f"an array of {dtype} {shape} needs {need:,} bytes, "
                f"{len(content) - start:,} are there"
            )
        flat = np.frombuffer(content, dtype, offset=start)
        return flat.reshape(shape, order="F" if by_columns else "C").copy(order="K")
    except _DAMAGE as error:
        raise ValueError(f"not an array: {error}") from error
