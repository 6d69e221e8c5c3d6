"""Paths of image files: words, folders that are walked, a list from a pipe."""

import dataclasses
import os
import select
import stat
from collections.abc import Collection, Iterable, Iterator

from trainer.data.preprocessing import EXTENSIONS
from trainer.data.sources.image_files import SPLITS
from trainer.errors import InvalidInput

STDIN = "-"  # the word for the list that comes from a pipe
WAIT_SECS = 1.0  # for the next path of a slow pipe
_LONGEST_PATH = 4096
_PIECE = 1 << 16


@dataclasses.dataclass(frozen=True)
class ImagePath:
    """A file to classify.

    Attributes:
        path: as it was given, or below the folder that was given.
        label: the class in whose folder it lies; None: in none.
        problem: why it cannot be classified, "" if nothing is known yet.
    """

    path: str
    label: str | None = None
    problem: str = ""


def find_images(
    names: Iterable[str | None], classes: Collection[str]
) -> Iterator[ImagePath | None]:
    """Finds the files that `names` name; folders are walked in the order of names.

    Only the names of one folder at a time are held in memory. None, which a slow pipe
    gives when no path has come, is passed on.

    Args:
        names: of files, whatever their extension, and of folders, in which files with
            another extension than pictures have are left out.
        classes: a file in DIR/<class>/ or DIR/<split>/<class>/, where DIR was named,
            has that label.
    """
    for name in names:
        if name is None:
            yield None
        elif not os.path.isdir(name):
            yield ImagePath(name)
        else:
            yield from _find_in_folder(name, frozenset(classes))


def _find_in_folder(folder: str, classes: frozenset[str]) -> Iterator[ImagePath]:
    found = False
    for path, parts in _walk(folder, (), ()):
        found = True
        if isinstance(path, ImagePath):
            yield path
        else:
            yield ImagePath(path, _find_label(parts, classes))
    if not found:
        yield ImagePath(folder, problem="there is no picture in this folder")


def _find_label(parts: tuple[str, ...], classes: frozenset[str]) -> str | None:
    """The class among the folders `parts` of a file, the outermost one first."""
    if parts and parts[0] in classes:
        return parts[0]
    if len(parts) > 1 and parts[0].lower() in SPLITS and parts[1] in classes:
        return parts[1]
    return None


def _walk(
    folder: str, parts: tuple[str, ...], above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str | ImagePath, tuple[str, ...]]]:
    """Paths of pictures below `folder`, with the folders that lead to each.

    A link that leads to a folder above it is not followed.
    """
    try:
        own = os.stat(folder)
        names = sorted(os.listdir(folder))
    except OSError as error:
        yield ImagePath(folder, problem=error.strerror or str(error)), parts
        return
    identity = (own.st_dev, own.st_ino)
    if identity in above:
        return
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith("."):
            continue
        if _is_folder(path):
            yield from _walk(path, (*parts, name), (*above, identity))
        elif os.path.splitext(name)[1].lower() in EXTENSIONS:
            yield path, parts


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False


def read_names(descriptor: int) -> Iterator[str | None]:
    """Names from a pipe or file, separated by NUL bytes or by line ends.

    They are separated by NUL bytes if the first one is. None is given for each second
    in which no more came, so that who waits can show what it has.

    Raises:
        InvalidInput: there is no name at all.
    """
    separator, rest, named = b"", b"", False
    for piece in _pieces(descriptor):
        if piece is None:
            yield None
            continue
        rest += piece
        if not separator:
            separator = _choose_separator(rest)
        if separator:
            *whole, rest = rest.split(separator)
            for name in filter(None, whole):
                named = True
                yield os.fsdecode(name)
    for name in filter(None, rest.split(separator or b"\n")):
        named = True
        yield os.fsdecode(name)
    if not named:
        raise InvalidInput("no path came from the pipe; name files or folders")


def _choose_separator(text: bytes) -> bytes:
    """The separator of a list that begins with `text`; b"" if that is not known yet."""
    if b"\0" in text:
        return b"\0"
    return b"\n" if text.endswith(b"\n") or len(text) > _LONGEST_PATH else b""


def _pieces(descriptor: int) -> Iterator[bytes | None]:
    # Not sys.stdin: a buffered reader holds a lock while it waits.
    while True:
        ready, _, _ = select.select([descriptor], [], [], WAIT_SECS)
        if not ready:
            yield None
        elif piece := os.read(descriptor, _PIECE):
            yield piece
        else:
            return
