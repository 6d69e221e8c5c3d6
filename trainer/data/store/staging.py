"""Staging: the decoded images of a store that is being prepared, resumable.

A folder NAME.partial holds `rows.u8`, the pixels of all files in their listed order,
and `journal.jsonl`: a line for the whole, then one for every chunk of rows with the
SHA-256 of its pixels. A preparation that was killed goes on after the last chunk whose
pixels still have their hash.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from trainer import files
from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec, UnreadableImage
from trainer.data.sources.image_files import ImageFile
from trainer.data.store.probing import in_threads, read_content
from trainer.monitoring.progress import OnBatch

ROWS, JOURNAL = "rows.u8", "journal.jsonl"
CHUNK_IMAGES, CHUNK_BYTES = 1024, 16 << 20  # at most, of a chunk
PIECE_IMAGES = 32  # of a chunk that one core decodes: small sets, too, use all cores


def chunk_images(spec: PixelSpec) -> int:
    """The number of images in a chunk."""
    size = spec.height * spec.width * spec.channels
    return max(1, min(CHUNK_IMAGES, CHUNK_BYTES // size))


@dataclasses.dataclass(frozen=True)
class DecodedChunk:
    """The images of consecutive files.

    Attributes:
        pixels: uint8 [n, H, W, C]; zeros for a file that cannot be read.
        problems: by position in the chunk, why a file cannot be read.
        hashes: SHA-256 of the content of each file, hexadecimal.
    """

    pixels: np.ndarray
    problems: dict[int, str]
    hashes: list[str]


def decode_chunk(part: Sequence[ImageFile], spec: PixelSpec) -> DecodedChunk:
    """Reads and decodes the files of `part`.

    Raises:
        PeerLost: the storage cannot be read for now.
    """
    pixels = np.zeros((len(part), *spec.shape), np.uint8)
    problems, hashes = {}, []
    for position, file in enumerate(part):
        try:
            content = read_content(file)
            hashes.append(hashlib.sha256(content).hexdigest())
            pixels[position] = preprocessing.decode(content, spec)
        except UnreadableImage as error:
            problems[position] = str(error)
            hashes += [""] * (position + 1 - len(hashes))
    return DecodedChunk(pixels, problems, hashes)


def decode_chunks(
    parts: Sequence[Sequence[ImageFile]], spec: PixelSpec, tick: OnBatch
) -> Iterator[DecodedChunk]:
    """Yields each of `parts` decoded, in order; all cores share the work of one.

    Raises:
        PeerLost: the storage cannot be read for now.
    """
    pieces = [
        part[n : n + PIECE_IMAGES]
        for part in parts
        for n in range(0, len(part), PIECE_IMAGES)
    ]
    decoded = in_threads(lambda piece: decode_chunk(piece, spec), pieces)
    for part in parts:
        pixels = np.empty((len(part), *spec.shape), np.uint8)
        problems: dict[int, str] = {}
        hashes: list[str] = []
        while (first := len(hashes)) < len(part):
            piece = next(decoded)
            pixels[first : first + len(piece.hashes)] = piece.pixels
            problems |= {first + n: why for n, why in piece.problems.items()}
            hashes += piece.hashes
            tick(len(piece.hashes))
        yield DecodedChunk(pixels, problems, hashes)


class Staging:
    """The decoded images of all files of a listing.

    Attributes:
        problems: by row, why a file cannot be read.
        hashes: SHA-256 of the content of each file, hexadecimal.
    """

    def __init__(
        self, folder: pathlib.Path, found: Sequence[ImageFile], spec: PixelSpec
    ) -> None:
        self.problems: dict[int, str] = {}
        self.hashes: list[str] = []
        self._folder, self._files, self._spec = folder, found, spec
        self._chunk = chunk_images(spec)

    def fill(self, head: dict[str, Any], tick: OnBatch) -> None:
        """Decodes all files that an earlier preparation of the same `head` has not.

        Raises:
            OSError: the pixels cannot be written.
            PeerLost: a file cannot be read for now.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        head = json.loads(json.dumps(head))
        done = sum(1 for _ in self._restore(head, tick))
        starts = range(done * self._chunk, len(self._files), self._chunk)
        parts = [self._files[n : n + self._chunk] for n in starts]
        with self._open_rows() as rows, self._open_journal(head, done) as journal:
            chunks = decode_chunks(parts, self._spec, tick)
            for number, chunk in enumerate(chunks, done):
                self._write(rows, journal, number, chunk)
            rows.flush()
            os.fsync(rows.fileno())

    def rows(self) -> np.ndarray:
        """The pixels of all files, uint8 [N, H, W, C], memory-mapped."""
        shape = (len(self._files), *self._spec.shape)
        return np.memmap(self._folder / ROWS, np.uint8, "r", shape=shape)

    def remove(self) -> None:
        """Removes the staged pixels."""
        for name in (ROWS, JOURNAL):
            files.delete(self._folder / name)

    @contextlib.contextmanager
    def _open_rows(self) -> Iterator[IO[bytes]]:
        with files.open_for_update(self._folder / ROWS, create=True) as file:
            file.truncate(len(self._files) * int(np.prod(self._spec.shape)))
            yield file

    @contextlib.contextmanager
    def _open_journal(self, head: dict[str, Any], done: int) -> Iterator[IO[bytes]]:
        """Opens the journal behind the lines of `done` chunks; begins a missing one."""
        path = self._folder / JOURNAL
        if done == 0:
            files.write_new(path, json.dumps(head).encode() + b"\n")
        with files.open_for_update(path) as file:
            end = sum(len(file.readline()) for _ in range(done + 1))
            file.truncate(end)
            file.seek(end)
            yield file

    def _write(
        self, rows: IO[bytes], journal: IO[bytes], number: int, chunk: DecodedChunk
    ) -> None:
        rows.seek(number * self._chunk * int(np.prod(self._spec.shape)))
        rows.write(chunk.pixels)
        rows.flush()
        line = {
            "sha256": hashlib.sha256(chunk.pixels).hexdigest(),
            "problems": list(chunk.problems.items()),
            "hashes": chunk.hashes,
        }
        journal.write(json.dumps(line).encode() + b"\n")
        journal.flush()
        self._keep(number, line)

    def _keep(self, number: int, line: dict[str, Any]) -> None:
        first = number * self._chunk
        self.problems |= {first + at: reason for at, reason in line["problems"]}
        self.hashes += line["hashes"]

    def _restore(self, head: dict[str, Any], tick: OnBatch) -> Iterator[int]:
        """Yields the number of every chunk that is whole, and keeps what is known."""
        try:
            with (
                open(self._folder / JOURNAL, "rb") as journal,
                open(self._folder / ROWS, "rb") as rows,
            ):
                if json.loads(journal.readline()) != head:
                    return
                for number, line in enumerate(map(json.loads, journal)):
                    count = len(line["hashes"])
                    pixels = rows.read(count * int(np.prod(self._spec.shape)))
                    if hashlib.sha256(pixels).hexdigest() != line["sha256"]:
                        return
                    self._keep(number, line)
                    tick(count)
                    yield number
        except (OSError, ValueError, KeyError, TypeError):
            return  # there is none, or its last line was not written to its end
