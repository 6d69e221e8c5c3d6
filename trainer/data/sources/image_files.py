"""Image files before they are read: which there are, their classes and splits."""

import collections
import dataclasses
import errno
import functools
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from trainer.errors import InvalidInput
from trainer.monitoring.printable import shortened

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = {
    "train": TRAIN,
    "validation": VALIDATION,
    "val": VALIDATION,
    "valid": VALIDATION,
    "test": TEST,
}
SHOWN = 5  # names in a message


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of a data set.

    Attributes:
        path: where it is opened.
        name: its id: the path inside the folder, or as the table has it.
        label: the number of its class.
        split: TRAIN, VALIDATION or TEST; without a test split all are TRAIN or
            VALIDATION.
        bytes, changed: its size, and when it was changed in ns since 1970.
        problem: why it cannot be opened; None: that is not known yet.
    """

    path: str
    name: str
    label: int
    split: str
    bytes: int
    changed: int
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Listing:
    """The image files of a data set, in their order.

    Attributes:
        kind: IMAGE_DIR or IMAGE_LIST, an option that names such a data set.
        path: the folder or the table.
        files: in the order of rows: by split, class and name, or as in the table.
        classes: their names, by label, in alphabetical order.
        remarks: lines for the user on what was left out.
        problems: why nothing can be learnt from them; (): something can.
        sealed: whether test images are named, and were left out.
    """

    kind: str
    path: str
    files: tuple[ImageFile, ...]
    classes: tuple[str, ...]
    remarks: tuple[str, ...]
    problems: tuple[str, ...] = ()
    sealed: bool = False

    def check(self) -> None:
        """Raises InvalidInput with the first of the problems, if there is one."""
        if self.problems:
            raise InvalidInput(self.problems[0])

    @property
    def has_test(self) -> bool:
        """Whether test images are named; otherwise some are set apart."""
        return self.sealed or any(file.split == TEST for file in self.files)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over name, class, split, size, time of change, problem of all."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for file in self.files:
            digest.update(encode_name(file.name))
            facts = (file.label, file.split, file.bytes, file.changed, file.problem)
            digest.update(f"\0{facts}\n".encode())
        return digest.hexdigest()


def encode_name(name: str) -> bytes:
    """The bytes of a file's name, which need not be UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def is_utf8(name: str) -> bool:
    """Whether a file's name is UTF-8, as ids and JSON files need it."""
    return not any("\ud800" <= char <= "\udfff" for char in name)


def look_at(path: str, name: str, label: int, split: str) -> ImageFile:
    """An ImageFile with its size and what is wrong with it so far, if anything is."""
    size = changed = 0
    problem = None
    try:
        found = os.stat(path)
        size, changed = found.st_size, found.st_mtime_ns
        if not stat.S_ISREG(found.st_mode):
            problem = "it is no regular file"
        elif not os.access(path, os.R_OK):
            problem = os.strerror(errno.EACCES)
    except FileNotFoundError:
        link = os.path.islink(path)
        problem = "its target does not exist" if link else "it does not exist"
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
    if not is_utf8(name):
        problem = "its name is not UTF-8; rename it"
    return ImageFile(path, name, label, split, size, changed, problem)


def sort_classes(where: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names of classes in alphabetical order.

    Raises:
        InvalidInput: a name is not UTF-8 or holds a line break.
    """
    classes = tuple(sorted(set(names)))
    for name in classes:
        if not is_utf8(name) or any(unicodedata.category(c) == "Cc" for c in name):
            raise InvalidInput(
                f"{where}: the class {shortened(name)} has a name that is not UTF-8 or "
                "holds a control character; rename it"
            )
    return classes


def find_problems(
    where: str, classes: Sequence[str], files: Sequence[ImageFile]
) -> Iterator[str]:
    """Yields why nothing can be learnt from the files, if so.

    There are fewer than two classes, two look alike, or one has no image to learn from.
    """
    if len(classes) < 2:
        only = f": {shortened(classes[0])}" if classes else ""
        yield (
            f"{where} has {len(classes)} class{'es' * (not classes)}{only}; at least 2 "
            "are needed to tell apart"
        )
    alike = collections.defaultdict(list)
    for name in classes:
        alike[unicodedata.normalize("NFKC", name).casefold()].append(name)
    for group in alike.values():
        if len(group) > 1:
            yield (
                f"{where} has classes that look alike: {name_some(group)}; give all "
                "their images one name, or clearly different ones"
            )
    known = {file.label for file in files if file.split == TRAIN}
    empty = [name for label, name in enumerate(classes) if label not in known]
    if empty:
        yield (
            f"{where} has no image to train on of {name_some(empty)}; add some, or "
            "remove the class"
        )


def name_some(names: Sequence[str]) -> str:
    """The first names of a list for a message, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(shortened, names[:SHOWN])) + more
