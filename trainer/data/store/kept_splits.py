"""Keeps the decoded splits of a large TFDS data set, so that later starts are quick.

Decoding CIFAR-10 takes 6 to 9 seconds, mapping its pixels into memory a few
milliseconds. The pixels, ids and hashes are those that were decoded.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from trainer import files, storage
from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec
from trainer.data.split import WITH_TEST, WITHOUT_TEST, Split
from trainer.data.store import folders, split_files, store_manifest
from trainer.data.store.lock import preparation_lock
from trainer.data.store.split_files import SplitFiles
from trainer.data.store.staging import chunk_images
from trainer.data.store.store import StoredImages
from trainer.errors import DataUnavailable
from trainer.monitoring.progress import CONSOLE

LEAST_EXAMPLES = 10_000  # fewer are decoded in about a second
TFDS = "tfds"  # the kind of source


@dataclasses.dataclass(frozen=True)
class KeptSplits:
    """The store of the splits of a prepared data set.

    Attributes:
        name: of the data set, with its version.
        data_dir: the folder of data sets, in which stores may lie; None: unknown.
        folder: of the files of this data set.
        version: of the libraries that decode them.
        spec: the pixels that they become; None: as they are.
    """

    name: str
    data_dir: str | None
    folder: str
    version: str
    spec: PixelSpec | None

    def find(self, splits: Sequence[str] = WITH_TEST) -> StoredImages | None:
        """A store of `splits`, if it is there and its data set has not changed since.

        The store of both splits also serves for "train" alone.
        """
        fingerprint = self._fingerprint()
        if fingerprint is None:
            return None
        kinds = [WITH_TEST] if "test" in splits else [WITH_TEST, WITHOUT_TEST]
        for root in folders.search_folders(self.data_dir):
            for kind in kinds:
                found = store_manifest.load(root / self._store_name(kind))
                if found is not None and found.fingerprint == fingerprint:
                    return StoredImages(found)
        return None

    def get(
        self,
        splits: Sequence[str],
        decode: Callable[[str], Split],
        say: Callable[[str], object],
    ) -> dict[str, Split]:
        """The `splits` by name; decoded and kept if they are not yet.

        Where nothing can be written they stay in memory. Of a run that is not tested
        the test split is neither decoded nor kept.

        Raises:
            Whatever `decode` raises.
        """
        root = folders.writable_folder(self.data_dir)
        if not os.access(storage.nearest_existing(root), os.W_OK | os.X_OK):
            return {which: decode(which) for which in splits}
        with contextlib.ExitStack() as stack:
            try:
                name = self._store_name(splits)
                lock = preparation_lock(root, name, self.name, say)
                stack.enter_context(lock)
            except DataUnavailable:  # a full disk, say
                return {which: decode(which) for which in splits}
            if (found := self.find(splits)) is None:
                decoded = {which: decode(which) for which in splits}
                if (found := self._try_to_keep(root, decoded, say)) is None:
                    return decoded
        return {which: found.load(which) for which in splits}

    def _try_to_keep(
        self,
        root: pathlib.Path,
        splits: dict[str, Split],
        say: Callable[[str], object],
    ) -> StoredImages | None:
        try:
            return self._keep(root, splits)
        except OSError as error:
            why = storage.reason(error)
            say(f"the decoded pixels of {self.name} are not kept in {root}: {why}")
            return None

    def _store_name(self, splits: Sequence[str]) -> str:
        text = f"{TFDS}\0{self.folder}\0{self.spec}"
        key = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        size = "" if self.spec is None else f"-{self.spec.height}x{self.spec.width}"
        only = "" if "test" in splits else "-train"
        return f"{self.name.replace('/', '-')}{size}{only}-{key}"

    def _fingerprint(self) -> str | None:
        """Of names, sizes and times of change of all files; None for a bucket."""
        text = f"{self.version} {preprocessing.VERSION}\0"
        try:
            with os.scandir(self.folder) as entries:
                for entry in sorted(entries, key=lambda found: found.name):
                    seen = entry.stat()
                    text += f"{entry.name}\0{seen.st_size} {seen.st_mtime_ns}\n"
        except OSError:
            return None
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def _keep(
        self, root: pathlib.Path, splits: dict[str, Split]
    ) -> StoredImages | None:
        """Writes the store; None if there is no room or the files are in a bucket."""
        fingerprint = self._fingerprint()
        need = sum(split.images.nbytes for split in splits.values())
        if fingerprint is None or 2 * need > shutil.disk_usage(root).free:
            return None
        spec = self.spec or PixelSpec(*splits["train"].images.shape[1:])
        final = root / self._store_name(tuple(splits))
        partial = final.with_name(final.name + folders.PARTIAL)
        files.delete(partial)
        partial.mkdir()
        fields = {
            **store_manifest.header(),
            "source": {"kind": TFDS, "path": self.folder, "fingerprint": fingerprint},
            "preprocessing": spec.to_json(),
            "probed": {},
            "classes": list(splits["train"].names),
            "validation_images": 0,
            "chunk_images": chunk_images(spec),
            "skipped": [],
            "splits": {},
        }
        _write_splits(partial, fields, splits)
        files.write_json(partial / store_manifest.FILE, fields)
        split_files.publish(partial, final)
        found = store_manifest.load(final)
        return None if found is None else StoredImages(found)


def _write_splits(
    partial: pathlib.Path, fields: dict[str, Any], splits: dict[str, Split]
) -> None:
    """Writes the files of `splits`, and adds to `fields` what they are."""
    total = sum(len(split.labels) for split in splits.values())
    with CONSOLE.count(total, "keeping the decoded pixels") as tick:
        for which, split in splits.items():
            written = SplitFiles(
                shape=split.images.shape,
                read=lambda start, end, images=split.images: images[start:end],
                labels=split.labels,
                ids=split.ids,
            )
            facts = split_files.write(
                partial / which, written, fields["chunk_images"], tick
            )
            fields["splits"][which] = facts | {"name": split.split}
