"""Opens stores, prepares those that are missing, tells what changed, verifies them."""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from trainer.data.preprocessing import PixelSpec
from trainer.data.sources.image_files import TEST, Listing, name_some
from trainer.data.split import Split, SplitHashes
from trainer.data.store import folders, probing, store_manifest
from trainer.data.store.request import FilesRequest
from trainer.data.store.store_builder import StoreBuilder, ascii_name
from trainer.data.store.store_manifest import Manifest
from trainer.errors import DataUnavailable, InvalidInput
from trainer.monitoring.progress import CONSOLE


@dataclasses.dataclass(frozen=True)
class StoredImages:
    """A store as a DataSource; its images are memory-mapped.

    Attributes:
        manifest: what it says of itself.
        remarks: lines for the user.
    """

    manifest: Manifest
    remarks: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """IMAGE_DIR or IMAGE_LIST."""
        return self.manifest.fields["source"]["kind"]

    @property
    def name(self) -> str:
        """The kind of source and the name of its folder or table."""
        return f"{self.kind}/{pathlib.PurePath(self.folder).name}"

    @property
    def folder(self) -> str:
        """The folder or the table of image files."""
        return self.manifest.fields["source"]["path"]

    @property
    def preprocessing(self) -> PixelSpec:
        """How files became pixels."""
        return self.manifest.spec

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Name and reason of each file that was left out."""
        return self.manifest.skipped

    @functools.cached_property
    def held_out(self) -> np.ndarray | None:
        """int [N], rows of "train" that validate; None: a fraction of them."""
        count = self.manifest.fields["validation_images"]
        total = self.manifest.images("train")
        return np.arange(total - count, total) if count else None

    def load(self, which: str) -> Split:
        """Maps the split `which`, "train" or "test", into memory.

        Raises:
            InvalidInput: the store is damaged, or of a run that is not tested.
        """
        folder = self.manifest.folder
        if which not in self.manifest.splits:
            raise InvalidInput(_damaged(folder, f"it holds no {which} split"))
        facts = self.manifest.fields["splits"][which]
        shape = (facts["images"], *self.preprocessing.shape)
        try:
            images = np.memmap(
                folder / which / store_manifest.PIXELS, np.uint8, "r", 0, shape
            )
            labels = np.load(folder / which / store_manifest.LABELS)
        except (OSError, ValueError, EOFError) as error:
            raise InvalidInput(_damaged(folder, str(error))) from error
        ids = store_manifest.read_list(folder / which / store_manifest.IDS)
        if labels.shape != (len(images),) or len(ids) != len(images):
            raise InvalidInput(_damaged(folder, "labels or ids are missing"))
        return Split(
            images=images,
            labels=labels,
            ids=tuple(ids),
            names=tuple(self.manifest.fields["classes"]),
            sha256=facts["sha256"],
            split=facts.get("name", which),
            pixels_sha256=facts["pixels_sha256"],
        )


def _damaged(folder: pathlib.Path, why: str) -> str:
    return (
        f"the store {folder} is damaged: {why};\nremove it with trainer.prepare, "
        f"remove={folder.name}, and it is made again"
    )


def open_store(
    request: FilesRequest, *, say: Callable[[str], object], write: bool = True
) -> StoredImages:
    """The store of the files that are asked for; prepares it if there is none.

    Args:
        request: the files and their pixels.
        say: receives messages for the user.
        write: False refuses to prepare anything.

    Raises:
        InvalidInput: the files cannot be used; those that cannot be read are named.
        DataUnavailable: the store cannot be written.
        PeerLost: the storage cannot be read for now.
    """
    listing = request.list_files()
    found = _find(request, listing, say)
    if found is None:
        found = _prepare(request, listing, say, write=write)
    _check_skipped(request, found.skipped)
    remarks = (*listing.remarks, *_remarks(request, listing, found))
    for line in remarks:
        say(line)
    return StoredImages(found, remarks)


def _find(
    request: FilesRequest, listing: Listing, say: Callable[[str], object] | None
) -> Manifest | None:
    """The store of these very files and pixels; says what changed in an older one."""
    fingerprint = listing.fingerprint
    for path in folders.with_key(request.data_dir, request.source_key(listing)):
        found = store_manifest.load(path)
        if found is None or not request.accepts(found.spec, found.fields["probed"]):
            continue
        if found.fingerprint == fingerprint:
            return found
        if say:
            say(f"{request.option} has changed: {describe_changes(found, listing)}")
    return None


def _prepare(
    request: FilesRequest,
    listing: Listing,
    say: Callable[[str], object],
    *,
    write: bool,
) -> Manifest:
    spec, probed = probing.resolve(request, listing)
    name = folders.store_name(request.path, spec, request.source_key(listing))
    for root in folders.search_folders(request.data_dir):
        ready = store_manifest.load(root / name)  # asked for in other words
        if ready and ready.fingerprint == listing.fingerprint:
            return ready
    root = folders.writable_folder(request.data_dir)
    if not write:
        raise DataUnavailable(
            f"{request.option} is not prepared in {root} and `dry_run` writes nothing; "
            f"prepare it first with trainer.prepare and {request.option}"
        )
    builder = StoreBuilder(request, listing, spec, probed, root / name)
    builder.build(say)
    made = store_manifest.load(root / name)
    if made is None:
        raise DataUnavailable(f"{root / name} vanished after it was prepared")
    return made


def _check_skipped(request: FilesRequest, skipped: Sequence[tuple[str, str]]) -> None:
    """Names files that cannot be read, unless they may be left out."""
    if not skipped or request.skip_unreadable:
        return
    lines = [f"{name} ({reason})" for name, reason in skipped]
    raise InvalidInput(
        f"{request.option}: {len(skipped):,} files cannot be read: {name_some(lines)};"
        "\nrepair or remove them, or leave them out with skip_unreadable=True"
    )


def _remarks(request: FilesRequest, listing: Listing, found: Manifest) -> Iterator[str]:
    if found.skipped:
        yield (
            f"{request.option}: {len(found.skipped):,} files that cannot be read are "
            f"left out, see {found.folder / store_manifest.FILE}"
        )
    if not request.test:
        return
    if listing.has_test:
        tested = {file.label for file in listing.files if file.split == TEST}
    else:
        tested = set(np.load(found.folder / "test" / store_manifest.LABELS).tolist())
    untested = [n for label, n in enumerate(listing.classes) if label not in tested]
    if untested:
        yield f"{request.option}: no test image of {name_some(untested)}"


def describe_changes(old: Manifest, listing: Listing) -> str:
    """What differs between the files of a store and those of now, in words."""
    try:
        listed = store_manifest.read_list(old.folder / store_manifest.SOURCE)
        before = {entry[0]: tuple(entry[1:]) for entry in listed["files"]}
    except (InvalidInput, KeyError, TypeError, IndexError):
        return "its old list of files is lost"
    now = {
        ascii_name(f.name): (f.label, f.split, f.bytes, f.changed, f.problem)
        for f in listing.files
    }
    found = {
        "added": [name for name in now if name not in before],
        "removed": [name for name in before if name not in now],
        "replaced": [n for n in now if n in before and now[n] != before[n]],
    }
    words = [
        f"{len(names):,} {word} ({name_some(names)})"
        for word, names in found.items()
        if names
    ]
    return "; ".join(words) or "the order of its files"


def describe(path: pathlib.Path) -> str:
    """What a store holds, in words."""
    found = store_manifest.load(path)
    if found is None:
        return "not complete"
    counts = {which: found.images(which) for which in found.splits}
    return f"{counts} images of {found.fields['source']['path']}"


def verify(path: pathlib.Path) -> Iterator[str]:
    """Reads a whole store and yields what is wrong with it, a line each."""
    found = store_manifest.load(path)
    if found is None:
        yield f"{path}: its manifest, or a file that it names, is missing or damaged"
        return
    source = StoredImages(found)
    for which in found.splits:
        try:
            split = source.load(which)
        except InvalidInput as error:
            yield str(error).partition(";\n")[0]
            continue
        yield from _verify_split(path / which, split, found.fields)


def _verify_split(
    folder: pathlib.Path, split: Split, fields: dict[str, Any]
) -> Iterator[str]:
    facts, step = fields["splits"][folder.name], fields["chunk_images"]
    hashes = SplitHashes(split.ids, split.images.shape)
    count = len(split.images)
    with CONSOLE.count(count, f"verifying {folder}") as tick:
        for number, start in enumerate(range(0, count, step)):
            pixels = split.images[start : start + step]
            hashes.update(pixels)
            if facts["chunks"][number : number + 1] != [
                hashlib.sha256(pixels).hexdigest()
            ]:
                last = start + len(pixels) - 1
                yield f"{folder}: images {start:,} to {last:,} differ"
            tick(len(pixels))
    if hashes.finish(split.labels) != (facts["sha256"], facts["pixels_sha256"]):
        yield f"{folder}: labels, ids or pixels are not those that were written"
