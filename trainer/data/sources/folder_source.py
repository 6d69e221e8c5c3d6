"""Lists a folder of image files: CLASS/FILE or SPLIT/CLASS/FILE."""

import dataclasses
import os
from collections.abc import Iterator

from trainer.data.preprocessing import EXTENSIONS
from trainer.data.sources.image_files import (
    SPLITS,
    TEST,
    TRAIN,
    ImageFile,
    Listing,
    encode_name,
    find_problems,
    look_at,
    name_some,
    sort_classes,
)
from trainer.data.split import IMAGE_DIR
from trainer.errors import InvalidInput

SYSTEM_FILES = {"thumbs.db", "desktop.ini"}  # of Windows; macOS hides its own


@dataclasses.dataclass
class _Walk:
    """What a walk through the folders has seen beside image files."""

    other: int = 0  # files whose names do not end as those of pictures
    outside: int = 0  # pictures outside of class folders
    looped: int = 0  # links to a folder that they lie in


def list_folder(root: str, *, test: bool = True) -> Listing:
    """Lists the image files of the folder `root`.

    A class folder may hold further folders. Links are followed, but not in circles;
    hidden files and folders are passed over. Folders called train, validation (val,
    valid) and test are splits where there is nothing else beside them. Without `test`
    that folder is not opened.

    Raises:
        InvalidInput: it cannot be read, or it has no class folders with files.
    """
    if not os.path.isdir(root):
        raise InvalidInput(
            f"image_dir={root} is no folder; name one with a folder for each class"
        )
    walk = _Walk()
    folders = _subfolders(root, root, walk)
    named = _find_splits(root, folders)
    splits = {name: split for name, split in named.items() if test or split != TEST}
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for folder, split in splits.items():
        inner = _subfolders(os.path.join(root, folder), root, walk)
        if not inner:
            raise InvalidInput(f"image_dir={root}: {folder} has no class folders")
        for name in inner:
            path = os.path.join(root, folder, name)
            found[split, name] = list(_walk_class(path, f"{folder}/{name}", walk))
    if not named:
        for name in folders:
            path = os.path.join(root, name)
            found[TRAIN, name] = list(_walk_class(path, name, walk))
    listing = _to_listing(root, found, walk)
    return dataclasses.replace(listing, sealed=len(splits) < len(named))


def _to_listing(
    root: str, found: dict[tuple[str, str], list[tuple[str, str]]], walk: _Walk
) -> Listing:
    where = f"image_dir={root}"
    if not any(found.values()):
        raise InvalidInput(
            f"{where} has no image files in class folders (CLASS/FILE); their names "
            f"must end in one of {', '.join(sorted(EXTENSIONS))}"
        )
    classes = sort_classes(where, (name for _, name in found))
    label = {name: number for number, name in enumerate(classes)}
    files: list[ImageFile] = []
    for split, name in sorted(found, key=lambda key: (_rank(key[0]), key[1])):
        for path, inside in sorted(found[split, name], key=lambda f: encode_name(f[1])):
            files.append(look_at(path, inside, label[name], split))
    return Listing(
        kind=IMAGE_DIR,
        path=root,
        files=tuple(files),
        classes=classes,
        remarks=tuple(_remarks(root, walk)),
        problems=tuple(find_problems(where, classes, files)),
    )


def _rank(split: str) -> int:
    return list(SPLITS.values()).index(split)


def _find_splits(root: str, folders: list[str]) -> dict[str, str]:
    """The split that each folder holds; {}: the folders are classes.

    "train" is a class, too, where other classes lie beside it and no other split does.
    """
    known = [name for name in folders if name.lower() in SPLITS]
    others = [name for name in folders if name not in known]
    if others and len(known) < 2:
        return {}
    if not known:
        return {}
    if others:
        raise InvalidInput(
            f"image_dir={root} has both splits ({name_some(known)}) and other folders "
            f"({name_some(others)}); move the others away"
        )
    splits = {name: SPLITS[name.lower()] for name in known}
    if len(set(splits.values())) < len(splits):
        raise InvalidInput(
            f"image_dir={root} names a split twice: {name_some(known)}; keep one folder"
        )
    if TRAIN not in splits.values():
        raise InvalidInput(
            f"image_dir={root} has {name_some(known)} but no folder train"
        )
    return splits


def _scan(folder: str, root: str) -> list[os.DirEntry[str]]:
    """The visible entries of a folder, in the order of their names."""
    try:
        with os.scandir(folder) as entries:
            seen = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InvalidInput(
            f"image_dir={root}: {folder} cannot be read: {error.strerror}"
        ) from error
    return sorted(seen, key=lambda entry: encode_name(entry.name))


def _subfolders(folder: str, root: str, walk: _Walk) -> list[str]:
    names = []
    for entry in _scan(folder, root):
        if _is_folder(entry):
            names.append(entry.name)
        elif _is_picture(entry.name):
            walk.outside += 1
        elif entry.name.lower() not in SYSTEM_FILES:
            walk.other += 1
    return names


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _walk_class(path: str, inside: str, walk: _Walk) -> Iterator[tuple[str, str]]:
    """Yields path and name of every image file in a class folder, however deep."""
    waiting = [(path, inside, frozenset((os.path.realpath(path),)))]
    while waiting:
        folder, prefix, above = waiting.pop()
        for entry in _scan(folder, path):
            name = f"{prefix}/{entry.name}"
            if _is_folder(entry):
                real = os.path.realpath(entry.path)
                if real in above:
                    walk.looped += 1
                else:
                    waiting.append((entry.path, name, above | {real}))
            elif _is_picture(entry.name):
                yield entry.path, name
            elif entry.name.lower() not in SYSTEM_FILES:
                walk.other += 1


def _remarks(root: str, walk: _Walk) -> Iterator[str]:
    if walk.other:
        yield f"{root}: {walk.other:,} files are left out: no names of pictures"
    if walk.outside:
        yield f"{root}: {walk.outside:,} pictures are left out: not in a class folder"
    if walk.looped:
        yield f"{root}: {walk.looped:,} links are left out: they lead in circles"
