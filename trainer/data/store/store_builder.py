"""Builds a store: decodes all files, sets a test split apart, writes the splits."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainer import files, storage
from trainer.data import preprocessing, sampler
from trainer.data.preprocessing import PixelSpec
from trainer.data.sources.image_files import (
    TEST,
    TRAIN,
    VALIDATION,
    Listing,
    find_problems,
    name_some,
)
from trainer.data.store import folders, split_files, store_manifest
from trainer.data.store.lock import preparation_lock
from trainer.data.store.request import FilesRequest
from trainer.data.store.split_files import SplitFiles
from trainer.data.store.staging import Staging, chunk_images
from trainer.errors import DataUnavailable, InvalidInput
from trainer.monitoring.progress import CONSOLE

SLACK = 64 << 20  # bytes of the disk that stay free


@dataclasses.dataclass(frozen=True)
class StoreBuilder:
    """Builds the store of a listing.

    Attributes:
        request: what is asked for.
        listing: the files.
        spec: their pixels.
        probed: what was seen of the files, see `probing.resolve`.
        folder: where it goes.
    """

    request: FilesRequest
    listing: Listing
    spec: PixelSpec
    probed: dict[str, Any]
    folder: pathlib.Path

    def build(self, say: Callable[[str], object]) -> None:
        """Writes the store unless another process does it meanwhile.

        Raises:
            InvalidInput: a class has no file that can be read, or there is no test
                image.
            DataUnavailable: it cannot be written.
            PeerLost: a file cannot be read for now.
        """
        root, name = self.folder.parent, self.folder.name
        with preparation_lock(root, name, self.request.option, say):
            ready = store_manifest.load(self.folder)
            if ready and ready.fingerprint == self.listing.fingerprint:
                return
            say(f"preparing {self.request.option} in {self.folder}")
            partial = self.folder.with_name(name + folders.PARTIAL)
            self._check_disk(partial)
            try:
                self._write(partial)
                split_files.publish(partial, self.folder)
            except InvalidInput:
                files.delete(partial)
                raise
            except OSError as error:
                raise DataUnavailable(
                    f"{self.request.option} cannot be prepared in {root}: "
                    f"{storage.reason(error)};\nname another folder with `data_dir`"
                ) from error

    def _check_disk(self, partial: pathlib.Path) -> None:
        """Checks that the pixels fit, twice: as they are decoded, and by split."""
        need = (
            2 * len(self.listing.files) * store_manifest.image_bytes(self.spec) + SLACK
        )
        staged = 0
        if partial.is_dir():  # of an earlier preparation, and partly used again
            staged = sum(
                512 * one.stat().st_blocks
                for one in partial.rglob("*")
                if one.is_file()
            )
        free = shutil.disk_usage(self.folder.parent).free + staged
        if need > free:
            raise DataUnavailable(
                f"{self.request.option} as {len(self.listing.files):,} images of "
                f"{self.spec.shape} needs {need:,} bytes in {self.folder.parent} while "
                f"it is prepared, {free:,} are free;\nmake room, name another folder "
                "with `data_dir`, or a smaller `image_size`"
            )

    def _write(self, partial: pathlib.Path) -> None:
        found = self.listing.files
        for name in (
            TRAIN,
            TEST,
            store_manifest.FILE,
        ):  # of a preparation that was killed
            files.delete(partial / name)
        staging = Staging(partial, found, self.spec)
        head = {
            "version": store_manifest.VERSION,
            "decoder": preprocessing.VERSION,
            "preprocessing": self.spec.to_json(),
            "fingerprint": self.listing.fingerprint,
        }
        with CONSOLE.count(len(found), f"decoding {self.listing.path}") as tick:
            staging.fill(head, tick)
        rows = self._choose_rows(staging)
        fields = {
            **store_manifest.header(),
            **self._describe_source(staging),
            "validation_images": self._count(rows["train"], VALIDATION),
            "splits": {},
        }
        with CONSOLE.count(sum(map(len, rows.values())), "writing the store") as tick:
            for which, chosen in rows.items():
                split = self._describe_rows(staging.rows(), chosen)
                fields["splits"][which] = split_files.write(
                    partial / which, split, chunk_images(self.spec), tick
                )
        self._write_lists(partial)
        staging.remove()
        files.write_json(partial / store_manifest.FILE, fields)

    def _describe_source(self, staging: Staging) -> dict[str, Any]:
        found = self.listing.files
        return {
            "source": {
                "kind": self.listing.kind,
                "path": self.listing.path,
                "files": len(found),
                "fingerprint": self.listing.fingerprint,
                "test_fraction": (
                    None if self.listing.has_test else self.request.test_fraction
                ),
            },
            "preprocessing": self.spec.to_json(),
            "probed": self.probed,
            "classes": list(self.listing.classes),
            "chunk_images": chunk_images(self.spec),
            "skipped": [
                [ascii_name(found[row].name), reason]
                for row, reason in sorted(staging.problems.items())
            ],
        }

    def _count(self, rows: np.ndarray, split: str) -> int:
        return sum(self.listing.files[row].split == split for row in rows)

    def _choose_rows(self, staging: Staging) -> dict[str, np.ndarray]:
        """The listed rows of the train split, and of the test split unless sealed."""
        found, bad = self.listing.files, staging.problems
        good = [row for row in range(len(found)) if row not in bad]
        for problem in find_problems(
            f"{self.request.option} (without {len(bad):,} files that cannot be read)",
            self.listing.classes,
            [found[row] for row in good],
        ):
            raise InvalidInput(problem)
        by_split = {
            split: np.array([row for row in good if found[row].split == split], int)
            for split in (TRAIN, VALIDATION, TEST)
        }
        train, test = by_split[TRAIN], by_split[TEST]
        if not self.listing.has_test:
            hashes = [bytes.fromhex(staging.hashes[row]) for row in train]
            labels = np.array([found[row].label for row in train])
            apart = sampler.test_rows(hashes, labels, self.request.test_fraction)
            train, test = train[~apart], train[apart]
        chosen = {"train": np.concatenate([train, by_split[VALIDATION]])}
        if self.listing.sealed:
            return chosen
        self._check_sizes(train, test)
        return chosen | {"test": test}

    def _check_sizes(self, train: np.ndarray, test: np.ndarray) -> None:
        classes, found = self.listing.classes, self.listing.files
        if len(test) == 0:
            raise InvalidInput(
                f"{self.request.option} has too few images to set "
                f"test_fraction={self.request.test_fraction} of each class apart as a "
                "test split;\nadd images, name a larger fraction, or add a folder or "
                "split called test"
            )
        learnt = {found[row].label for row in train}
        if left := [n for label, n in enumerate(classes) if label not in learnt]:
            raise InvalidInput(
                f"{self.request.option}: all images of {name_some(left)} are the same "
                "picture, which the test split took; add others, or remove the class"
            )

    def _describe_rows(self, staged: np.ndarray, rows: np.ndarray) -> SplitFiles:
        found = [self.listing.files[row] for row in rows]
        return SplitFiles(
            shape=(len(rows), *self.spec.shape),
            read=lambda start, end: staged[rows[start:end]],
            labels=np.array([file.label for file in found], np.int32),
            ids=[file.name for file in found],
        )

    def _write_lists(self, partial: pathlib.Path) -> None:
        """Writes what the listing was, so that a later change can be named."""
        found: Sequence = self.listing.files
        listed = {
            "classes": list(self.listing.classes),
            "files": [
                [ascii_name(f.name), f.label, f.split, f.bytes, f.changed, f.problem]
                for f in found
            ],
        }
        files.write_new(partial / store_manifest.SOURCE, json.dumps(listed).encode())


def ascii_name(name: str) -> str:
    """A file's name as JSON can hold it: bytes that are not UTF-8 as "\\udcff"."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
